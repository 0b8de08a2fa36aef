/** Frames of Pusher clients: what they say, every field checked. */

import { StarlingError, quote } from "../../core/errors.js";
import { ScanError, skipValue } from "../../encoding/json-scan.js";
import { fieldSpan } from "../../encoding/json-spans.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { loneSurrogateAt } from "../../encoding/surrogates.js";
import { textAt } from "../../encoding/text-cache.js";

export interface ClientFrame {
  readonly event: string;
  /** As it came: who needs it checks it. */
  readonly channel: unknown;
  readonly data: unknown;
}

/** @throws StarlingError bad_frame */
export function readFrame(bytes: Uint8Array): ClientFrame {
  let frame: unknown;
  try {
    frame = JSON.parse(textAt(bytes, 0, bytes.length));
  } catch (error) {
    throw bad(`the frame is no JSON: ${(error as Error).message}`);
  }
  if (!isObject(frame)) throw bad(`a frame is a JSON object, not ${quote(frame)}`);
  const { event, channel, data } = frame;
  if (typeof event !== "string") throw bad(`"event" must be a string, not ${quote(event)}`);
  return { event, channel, data };
}

/**
 * The fields of a command's data, which may be an object or its JSON.
 * @throws StarlingError bad_frame
 */
export function fieldsOf({ event, data }: ClientFrame): Readonly<Record<string, unknown>> {
  let fields = data;
  if (typeof data === "string") {
    try {
      fields = JSON.parse(data);
    } catch {
      throw bad(`"data" of ${event} is no JSON: ${quote(data)}`);
    }
  }
  if (isObject(fields)) return fields;
  throw bad(`"data" of ${event} must be an object, not ${quote(fields)}`);
}

/** @throws StarlingError bad_frame */
export function textField(fields: Readonly<Record<string, unknown>>, name: string): string {
  const text = optionalText(fields, name);
  if (text !== undefined) return text;
  throw bad(`"${name}" is missing`);
}

/** null is as good as none. @throws StarlingError bad_frame */
export function optionalText(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  throw bad(`"${name}" must be a string, not ${quote(value)}`);
}

/**
 * The data of an event: a string as it is, anything else as the JSON that came.
 * @param bytes  the whole frame, which readFrame read
 * @throws StarlingError bad_frame
 */
export function contentOf({ data }: ClientFrame, bytes: Uint8Array): Payload {
  if (data === undefined) return NO_DATA;
  if (typeof data === "string") {
    const lone = loneSurrogateAt(data);
    if (lone !== -1) throw bad(`"data" has a lone surrogate at ${lone}: it has no UTF-8`);
    return { bytes: Buffer.from(data), encoding: Encoding.text };
  }
  const { start, end } = fieldSpan(bytes, 0, "data")!;
  const json = bytes.subarray(start, end);
  try {
    skipValue(json, 0);
  } catch (error) {
    if (error instanceof ScanError) throw bad(`"data" cannot be taken: ${error.message}`);
    throw error;
  }
  return { bytes: json, encoding: Encoding.json };
}

const NO_DATA: Payload = { bytes: new Uint8Array(), encoding: Encoding.text };

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(message: string): StarlingError {
  return new StarlingError("bad_frame", message);
}
