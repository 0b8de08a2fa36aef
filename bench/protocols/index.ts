import type { ProtocolName } from "../types.js";
import type { Protocol } from "./protocol.js";
import { socketIo } from "./socket-io.js";
import { starlingJson } from "./starling-json.js";
import { starlingMsgpack } from "./starling-msgpack.js";

const protocols: Readonly<Record<ProtocolName, Protocol>> = {
  "starling-json": starlingJson,
  "starling-msgpack": starlingMsgpack,
  "socket.io": socketIo,
};

export const protocolByName = (name: ProtocolName): Protocol => protocols[name];
