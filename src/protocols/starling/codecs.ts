import type { Codec } from "./codec.js";
import { jsonCodec } from "./json-codec.js";
import { msgpackCodec } from "./msgpack-codec.js";

/** Every codec of the native protocol. The first serves clients that name no subprotocol. */
export const CODECS: readonly Codec[] = [jsonCodec, msgpackCodec];
