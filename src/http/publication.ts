import type { z } from "zod";
import type { PublishInput } from "../core/operations.js";
import { isServerChannel, userOfChannel } from "../core/channel-name.js";
import { StarlingError, quote } from "../core/errors.js";
import { DEPTH_MAX } from "../encoding/json-scan.js";
import { Encoding, type Payload } from "../encoding/payload.js";
import { type Position } from "../core/publication.js";
import { fieldSpan, itemStarts } from "../encoding/json-spans.js";
import type { publication } from "./schemas.js";

/** A publication of a body: checked, as JSON.parse made it, and where its object begins in the body. */
export interface RawPublication {
  /** Id of the application that publishes. */
  readonly app: string;
  readonly body: z.output<typeof publication>;
  readonly json: unknown;
  readonly bytes: Uint8Array;
  readonly start: number;
}

/** @throws StarlingError bad_request, forbidden, too_large */
export function readPublication(
  { app, body, json, bytes, start }: RawPublication,
  maxContentBytes: number,
): PublishInput {
  // Nobody can hear the others: a misspelled #user: would be lost without a word.
  if (isServerChannel(body.channel) && userOfChannel(body.channel) === undefined) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(body.channel)} cannot be published to: of the names that begin with #, only #user:<user> can`,
    );
  }
  // zod drops this key where it copies a record, and nothing is to be lost unsaid.
  const tags = (json as { tags?: object }).tags;
  if (tags !== undefined && Object.hasOwn(tags, "__proto__")) {
    throw new StarlingError("bad_request", '"tags" has the key "__proto__", which is not allowed');
  }
  const payload =
    body.contentBase64 === undefined
      ? jsonPayload(bytes, start)
      : { bytes: Buffer.from(body.contentBase64, "base64"), encoding: Encoding.binary };
  if (payload.bytes.length > maxContentBytes) {
    throw new StarlingError(
      "too_large",
      `content has ${payload.bytes.length} bytes, at most ${maxContentBytes} are allowed`,
    );
  }
  return {
    app,
    channel: body.channel,
    payload,
    event: body.event,
    tags: body.tags,
    exclude: body.exclude,
    messageId: body.messageId,
  };
}

function jsonPayload(bytes: Uint8Array, start: number): Payload {
  const span = fieldSpan(bytes, start, "content")!;
  // Clients in other languages parse by recursion, and so does this node's own transcoding.
  if (span.depth > DEPTH_MAX) {
    throw new StarlingError(
      "bad_request",
      `content is nested ${span.depth} levels deep, at most ${DEPTH_MAX} are allowed`,
    );
  }
  // A copy: a view would keep a whole batch's body alive.
  return { bytes: new Uint8Array(bytes.subarray(span.start, span.end)), encoding: Encoding.json };
}

/** Where each item of a publish-many body begins in it. */
export function publicationStarts(bytes: Uint8Array): number[] {
  return itemStarts(bytes, fieldSpan(bytes, 0, "publications")!.start);
}

export function describePublished(
  channel: string,
  position: Position | undefined,
): { channel: string; offset?: number; epoch?: string } {
  return position === undefined ? { channel } : { channel, offset: position.offset, epoch: position.epoch };
}
