import type { Peer, PeerByName, PeerName, PeerPrograms } from "../types.js";

/** Each is loaded when it is asked for: a run without Socket.IO does not need it installed. */
const modules: Readonly<
  Record<Exclude<PeerName, keyof PeerPrograms>, () => Promise<{ readonly peer: Peer }>>
> = {
  starling: () => import("./starling.js"),
  "starling-pusher": () => import("./starling-pusher.js"),
  raw: () => import("./raw.js"),
  "raw-batched": () => import("./raw-batched.js"),
  "raw-pusher": () => import("./raw-pusher.js"),
  ws: () => import("./ws.js"),
  "ws-state": () => import("./ws-state.js"),
  "socket.io": () => import("./socket-io.js"),
  "socket.io-uws": () => import("./socket-io-uws.js"),
  "json-publish": () => import("./json-publish.js"),
};

export const peerByName: PeerByName = async (name, { centrifugo, soketi } = {}) => {
  if (name === "centrifugo") return (await import("./centrifugo.js")).createCentrifugo(centrifugo);
  if (name === "soketi") return (await import("./soketi.js")).createSoketi(soketi);
  return (await modules[name]()).peer;
};
