import type { Peer, PeerByName, PeerName } from "../types.js";

/** Each is loaded when it is asked for: a run without Socket.IO does not need it installed. */
const modules: Readonly<Record<Exclude<PeerName, "centrifugo">, () => Promise<{ readonly peer: Peer }>>> = {
  starling: () => import("./starling.js"),
  raw: () => import("./raw.js"),
  "raw-batched": () => import("./raw-batched.js"),
  ws: () => import("./ws.js"),
  "ws-state": () => import("./ws-state.js"),
  "socket.io": () => import("./socket-io.js"),
  "socket.io-uws": () => import("./socket-io-uws.js"),
  "json-publish": () => import("./json-publish.js"),
};

export const peerByName: PeerByName = async (name, { centrifugo } = {}) => {
  if (name !== "centrifugo") return (await modules[name]()).peer;
  const { createCentrifugo } = await import("./centrifugo.js");
  return createCentrifugo(centrifugo);
};
