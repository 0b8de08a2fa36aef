/** The MessagePack codec, an entry of its own: who does not import it does not load msgpackr. */

import type { Bytes } from "./bytes.js";
import { Packr } from "msgpackr";
import type { ClientCodec, Frame } from "./frames.js";

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  int64AsType: "number",
});

/** An escape in JSON.stringify's text. It writes a surrogate as one only where it is alone. */
const ESCAPE = /\\(ud...|.)/g;

/**
 * Through JSON, so that both codecs send the same for undefined, Date and toJSON: msgpackr has extensions for some of
 * these and the server refuses extensions. A lone surrogate, for which msgpackr writes bytes that are no UTF-8, is U+FFFD.
 */
function plainOf(value: unknown): object {
  const text = JSON.stringify(value).replace(ESCAPE, (escape) => (escape.length > 2 ? "\ufffd" : escape));
  return JSON.parse(text) as object;
}

/** A plain view: in Node msgpackr hands out Buffers, whose methods differ from Uint8Array's. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Each call writes behind what the one before wrote: a frame stays whole while a socket holds it. */
function pack(value: unknown): Bytes {
  return packr.pack(value) as Bytes;
}

/**
 * MessagePack binary frames: subprotocol starling.v1.msgpack. Pass it as `codec`.
 * Content is what JSON can say, or bytes: the server takes nothing else.
 */
export const msgpack: ClientCodec = {
  subprotocol: "starling.v1.msgpack",
  encode(command) {
    const { content, ...rest } = command;
    if (content instanceof Uint8Array) return pack({ ...plainOf(rest), content });
    return pack(plainOf(command));
  },
  decode(frame) {
    if (typeof frame === "string") throw new Error("a text frame on a MessagePack connection");
    const value = packr.unpack(frame) as Frame | null;
    const content = value?.["content"];
    return content instanceof Uint8Array ? { ...value, content: plain(content) } : value;
  },
};
