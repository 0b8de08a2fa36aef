/**
 * The fields of a command and what each may hold: one list for every codec. A
 * codec finds where the fields lie in its frame; readCommand checks them.
 */

import { StarlingError, quote } from "../../core/errors.js";
import {
  EPOCH_CHARACTERS_MAX,
  EVENT_CHARACTERS_MAX,
  MESSAGE_ID_CHARACTERS_MAX,
  TAGS_MAX,
  TAG_CHARACTERS_MAX,
  TOKEN_CHARACTERS_MAX,
} from "../../core/limits.js";
import { loneSurrogateAt } from "../../encoding/surrogates.js";
import { ACTIONS, type Command, type CommandId } from "./messages.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { type Position, type Tags } from "../../core/publication.js";

const FIELD_NAMES = [
  "action",
  "id",
  "channel",
  "content",
  "contentBase64",
  "event",
  "tags",
  "echo",
  "token",
  "resume",
  "messageId",
  "since",
  "positions",
  "limit",
  "reverse",
] as const;
export type FieldName = (typeof FIELD_NAMES)[number];

export const FIELD_COUNT = FIELD_NAMES.length;
export const Field = Object.fromEntries(FIELD_NAMES.map((name, index) => [name, index])) as Record<
  FieldName,
  number
>;

/** Whether the field's value must not be kept, shown or logged. */
export function isSecret(field: number): boolean {
  return field === Field.token || field === Field.resume;
}

const encoder = new TextEncoder();
const FIELD_BYTES = FIELD_NAMES.map((name) => encoder.encode(name));
const ACTION_BYTES = ACTIONS.map((name) => encoder.encode(name));

function indexOfBytes(
  candidates: readonly Uint8Array[],
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const length = end - start;
  candidate: for (let c = 0; c < candidates.length; c++) {
    const wanted = candidates[c]!;
    if (wanted.length !== length) continue;
    for (let i = 0; i < length; i++) {
      if (wanted[i] !== bytes[start + i]) continue candidate;
    }
    return c;
  }
  return -1;
}

/** @returns the field that these bytes name, or -1 */
export function fieldAt(bytes: Uint8Array, start: number, end: number): number {
  return indexOfBytes(FIELD_BYTES, bytes, start, end);
}

/** @returns the field of this name, or -1 */
export function fieldNamed(name: string): number {
  return (FIELD_NAMES as readonly string[]).indexOf(name);
}

/** @returns the action that these bytes name, without making a string of them, or undefined */
export function actionAt(bytes: Uint8Array, start: number, end: number): string | undefined {
  return ACTIONS[indexOfBytes(ACTION_BYTES, bytes, start, end)];
}

/** A frame that could be read but not taken; `id` is its command's, where it had a usable one. */
export class CommandError extends StarlingError {
  readonly commandId: CommandId | undefined;

  constructor(error: StarlingError, commandId: CommandId | undefined) {
    super(error.code, error.message);
    this.name = "CommandError";
    this.commandId = commandId;
  }
}

/** A frame whose fields were found. Values are only made when asked for. */
export interface FieldReader {
  /** The field's value, undefined where the frame has none. */
  value(field: number): unknown;
  action(): unknown;
  /** The content as bytes of the frame. */
  payload(): Payload | undefined;
}

const ID_CHARACTERS_MAX = 64;
const RESUME_CHARACTERS_MAX = 256;
/** More than any connection may hold channels: a bound on what a hostile frame can make us look at. */
const POSITIONS_MAX = 10_000;

/** @throws CommandError bad_request */
export function readCommand(frame: FieldReader): Command {
  let id: CommandId | undefined;
  try {
    id = readId(frame.value(Field.id));
    return {
      action: readAction(frame.action()),
      id,
      channel: readString("channel", frame.value(Field.channel), undefined),
      content: readContent(frame),
      event: readText("event", frame.value(Field.event), EVENT_CHARACTERS_MAX),
      tags: readTags(frame.value(Field.tags)),
      echo: readBoolean("echo", frame.value(Field.echo)),
      token: readSecret("token", frame.value(Field.token), TOKEN_CHARACTERS_MAX),
      resume: readSecret("resume", frame.value(Field.resume), RESUME_CHARACTERS_MAX),
      messageId: readText("messageId", frame.value(Field.messageId), MESSAGE_ID_CHARACTERS_MAX),
      since: readPosition("since", frame.value(Field.since)),
      positions: readPositions(frame.value(Field.positions)),
      limit: readCount("limit", frame.value(Field.limit)),
      reverse: readBoolean("reverse", frame.value(Field.reverse)),
    };
  } catch (error) {
    if (error instanceof StarlingError) throw new CommandError(error, id);
    throw error;
  }
}

function bad(message: string): StarlingError {
  return new StarlingError("bad_request", message);
}

function readAction(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === undefined) throw bad('"action" is missing: one of ' + ACTIONS.join(", "));
  throw bad(`"action" must be a string, not ${quote(value)}`);
}

function readId(value: unknown): CommandId | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  if (typeof value === "string" && value.length <= ID_CHARACTERS_MAX) return value;
  throw bad(
    `"id" must be an integer or a string of at most ${ID_CHARACTERS_MAX} characters, not ${quote(value)}`,
  );
}

function readString(name: FieldName, value: unknown, charactersMax: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw bad(`"${name}" must be a string, not ${quote(value)}`);
  if (charactersMax !== undefined && value.length > charactersMax) {
    throw bad(`"${name}" has ${value.length} characters, at most ${charactersMax} are allowed`);
  }
  return value;
}

/** As readString, for text that is not held to a grammar of its own. */
function readText(name: FieldName, value: unknown, charactersMax: number): string | undefined {
  const text = readString(name, value, charactersMax);
  if (text !== undefined) checkSurrogates(`"${name}"`, text);
  return text;
}

function checkSurrogates(what: string, text: string): void {
  const lone = loneSurrogateAt(text);
  if (lone !== -1) throw bad(`${what} has a lone surrogate at ${lone}: it has no UTF-8`);
}

/** As readString, but an error never shows the value, whatever its type. */
function readSecret(name: FieldName, value: unknown, charactersMax: number): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw bad(`"${name}" must be a string, not ${typeName(value)}`);
  if (value.length <= charactersMax) return value;
  throw bad(`"${name}" has ${value.length} characters, at most ${charactersMax} are allowed`);
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function readBoolean(name: FieldName, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw bad(`"${name}" must be true or false, not ${quote(value)}`);
}

function readTags(value: unknown): Tags | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(`"tags" must be an object of strings, not ${quote(value)}`);
  }
  const entries = Object.entries(value);
  if (entries.length > TAGS_MAX) {
    throw bad(`"tags" has ${entries.length} entries, at most ${TAGS_MAX} are allowed`);
  }
  for (const [key, tag] of entries) {
    if (typeof tag !== "string") throw bad(`tag ${quote(key)} must be a string, not ${quote(tag)}`);
    if (key.length > TAG_CHARACTERS_MAX || tag.length > TAG_CHARACTERS_MAX) {
      throw bad(`tag ${quote(key)} is longer than ${TAG_CHARACTERS_MAX} characters`);
    }
    checkSurrogates(`the name of tag ${quote(key)}`, key);
    checkSurrogates(`tag ${quote(key)}`, tag);
  }
  return value as Tags;
}

function readCount(name: FieldName, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw bad(`"${name}" must be a whole number from 0 on, not ${quote(value)}`);
}

function readPosition(what: string, value: unknown): Position | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "object" && value !== null) {
    const { offset, epoch } = value as Partial<Record<string, unknown>>;
    if (
      typeof offset === "number" &&
      Number.isSafeInteger(offset) &&
      offset >= 0 &&
      typeof epoch === "string" &&
      epoch.length <= EPOCH_CHARACTERS_MAX
    ) {
      return { offset, epoch };
    }
  }
  throw bad(`"${what}" must be {"offset": <whole number>, "epoch": <string>}, not ${quote(value)}`);
}

function readPositions(value: unknown): ReadonlyMap<string, Position> | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(`"positions" must be an object of positions by channel, not ${quote(value)}`);
  }
  const entries = Object.entries(value);
  if (entries.length > POSITIONS_MAX) {
    throw bad(`"positions" has ${entries.length} channels, at most ${POSITIONS_MAX} are allowed`);
  }
  return new Map(
    entries.map(([channel, position]) => [
      channel,
      readPosition(`positions.${channel.slice(0, 60)}`, position)!,
    ]),
  );
}

/** `content`, or bytes from a JSON client as `contentBase64`. */
function readContent(frame: FieldReader): Payload | undefined {
  const content = frame.payload();
  const base64 = frame.value(Field.contentBase64);
  if (base64 === undefined) return content;
  if (content !== undefined) throw bad('give either "content" or "contentBase64", not both');
  if (typeof base64 === "string") {
    const bytes = Buffer.from(base64, "base64");
    // Node's decoder skips what it cannot read: only what encodes to the same text was base64.
    if (bytes.toString("base64") === base64) return { bytes, encoding: Encoding.binary };
  }
  throw bad(`"contentBase64" must be base64 (A-Z a-z 0-9 + /, padded with =), not ${quote(base64)}`);
}
