/**
 * What a text payload is to readers of other encodings: the JSON value that it holds, where it is one, else a string.
 * Found out once for each framing of a publication.
 */

import { FrameWriter } from "./frame-writer.js";
import { ScanError, skipSpace, skipValue } from "./json-scan.js";
import { writeStringHead } from "./msgpack-writer.js";
import { writeJsonAsMsgpack, writeJsonString } from "./transcode.js";

/** Whether it is one JSON value, with whatever space around it. */
export function isJson(text: Uint8Array): boolean {
  const start = skipSpace(text, 0);
  // Most text that is no JSON is told by how it begins, without an error.
  if (!BEGINS_JSON[text[start]!]) return false;
  try {
    return skipSpace(text, skipValue(text, start)) === text.length;
  } catch (error) {
    if (error instanceof ScanError) return false;
    throw error;
  }
}

const BEGINS_JSON = Uint8Array.from({ length: 256 }, (_, byte) =>
  '{["-0123456789tfn'.includes(String.fromCharCode(byte)) ? 1 : 0,
);

export function writeTextAsJson(writer: FrameWriter, text: Uint8Array): void {
  if (isJson(text)) writer.bytes(text);
  else writeJsonString(writer, text, 0, text.length);
}

export function writeTextAsMsgpack(writer: FrameWriter, text: Uint8Array): void {
  if (isJson(text)) {
    writeJsonAsMsgpack(writer, text);
    return;
  }
  writeStringHead(writer, text.length);
  writer.bytes(text);
}

const scratch = new FrameWriter();

/** @returns the same bytes where they are JSON, else others of their own */
export function textToJson(text: Uint8Array): Uint8Array {
  if (isJson(text)) return text;
  scratch.restart(0);
  writeJsonString(scratch, text, 0, text.length);
  return Uint8Array.from(scratch.written());
}
