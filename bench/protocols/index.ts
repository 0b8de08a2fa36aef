import type { ProtocolName } from "../types.js";
import { centrifugo } from "./centrifugo.js";
import type { Credentials, Protocol } from "./protocol.js";
import { createPusher } from "./pusher.js";
import { socketIo } from "./socket-io.js";
import { starlingJson } from "./starling-json.js";
import { starlingMsgpack } from "./starling-msgpack.js";

const protocols: Readonly<Record<ProtocolName, (credentials: Credentials) => Protocol>> = {
  "starling-json": () => starlingJson,
  "starling-msgpack": () => starlingMsgpack,
  "socket.io": () => socketIo,
  centrifugo: () => centrifugo,
  pusher: createPusher,
};

export const protocolByName = (name: ProtocolName, credentials: Credentials = {}): Protocol =>
  protocols[name](credentials);
