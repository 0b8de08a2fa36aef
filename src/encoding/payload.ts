/**
 * How a payload's bytes are to be read. Numbers, because they travel between nodes. `text` is a string in UTF-8 that
 * clients of string protocols send each other as it is; encoding/text-content.ts says what it is to others.
 */
export const Encoding = { json: 0, msgpack: 1, binary: 2, text: 3 } as const;
export type Encoding = (typeof Encoding)[keyof typeof Encoding];

/** Content as opaque bytes: validated where it came in, never parsed again on the way. */
export interface Payload {
  readonly bytes: Uint8Array;
  readonly encoding: Encoding;
}
