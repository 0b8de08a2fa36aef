/**
 * The applications' own line: `PUBLISH chat:broadcast {"channel":"room","message":...}`
 * from any language. Every node hears it and delivers to its own subscribers, so
 * it is at most once, in no history, and never published again by a node.
 */

import { isUtf8 } from "node:buffer";

import type { BusPublication } from "../../core/broker.js";
import { channelKey } from "../../core/channel.js";
import { checkChannelName, isServerChannel, userOfChannel } from "../../core/channel-name.js";
import { StarlingError, quote } from "../../core/errors.js";
import { ScanError, skipSpace, skipValue } from "../../encoding/json-scan.js";
import { Encoding } from "../../encoding/payload.js";

export interface IngestOptions {
  /** The Redis channel on which applications publish, as it is: without the prefix. */
  readonly channel: string;
  /** The application that its channels belong to. */
  readonly app: string;
  /** The longest line. */
  readonly maxBytes: number;
}

/**
 * @param line  JSON: `channel` and either `message` or `content`, any JSON value
 * @throws Error saying what is wrong with it
 */
export function readIngestLine(line: Buffer, app: string, maxBytes: number): BusPublication {
  if (line.length > maxBytes) {
    throw new StarlingError("too_large", `${line.length} bytes are more than ${maxBytes}`);
  }
  if (!isUtf8(line)) throw new ScanError("not UTF-8", 0);
  // Bounds the nesting, which JSON.parse does not.
  const end = skipSpace(line, skipValue(line, skipSpace(line, 0)));
  if (end !== line.length) throw new ScanError("more than one JSON value", end);
  const fields: unknown = JSON.parse(line.toString());
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new StarlingError("bad_request", `expected an object, not ${quote(fields)}`);
  }
  const { channel, message, content } = fields as Partial<Record<"channel" | "message" | "content", unknown>>;
  checkChannelName(channel);
  if (isServerChannel(channel) && userOfChannel(channel) === undefined) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is reserved for the server: of these only #user: channels can be published to`,
    );
  }
  const value = message === undefined ? content : message;
  if (value === undefined) throw new StarlingError("bad_request", `"message" is missing`);
  return {
    key: channelKey(app, channel),
    payload: { bytes: Buffer.from(JSON.stringify(value)), encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    position: undefined,
    extras: undefined,
    // The line does not say when it was written.
    publishedAtMs: Date.now(),
  };
}
