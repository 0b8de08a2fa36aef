import type { Bytes } from "./bytes.js";
import type { ClientCodec, Frame } from "./frames.js";

/** String.fromCharCode takes its bytes as arguments, whose number is limited. */
const CHUNK_BYTES = 8192;

export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES));
  }
  return btoa(binary);
}

/** @throws where the text is not base64 */
export function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** JSON text frames: subprotocol starling.v1.json. Bytes travel as base64. */
export const json: ClientCodec = {
  subprotocol: "starling.v1.json",
  encode(command) {
    if (!(command.content instanceof Uint8Array)) return JSON.stringify(command);
    const { content, ...rest } = command;
    return JSON.stringify({ ...rest, contentBase64: toBase64(content) });
  },
  decode(frame) {
    if (typeof frame !== "string") throw new Error("a binary frame on a JSON connection");
    const value = JSON.parse(frame) as Frame | null;
    const base64 = value?.["contentBase64"];
    if (typeof base64 !== "string") return value;
    const { contentBase64: _, ...rest } = value!;
    return { ...rest, content: fromBase64(base64) };
  },
};
