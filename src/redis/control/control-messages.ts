/**
 * What nodes say to each other besides publications, as MessagePack:
 *
 *     [version, "command", command]
 *     [version, "ask", id, node, question]
 *     [version, "answer", id, node, answer]
 *
 * They can grow: what a reader does not know behind these fields, and in a command, a question or an answer, it leaves
 * out. Commands of a kind that it does not know are counted and skipped, such questions answered with
 * `{kind: "unknown"}`. A new version is for what must not be read without its new fields.
 */

import { z } from "zod";

import type { ControlAnswer, ControlCommand, ControlQuestion } from "../../core/control.js";
import { DEFAULT_APP } from "../../core/app.js";
import { CHANNEL_NAME_MAX } from "../../core/channel-name.js";
import { StarlingError } from "../../core/errors.js";
import { CLOSE_MESSAGE_BYTES_MAX } from "../../core/limits.js";
import { packMessage, unpackMessage } from "../bus/packing.js";

export const CONTROL_VERSION = 1;

export type ControlMessage =
  | { readonly kind: "command"; readonly command: ControlCommand }
  | {
      readonly kind: "ask";
      readonly id: string;
      readonly node: string;
      readonly question: ControlQuestion | Unknown;
    }
  | {
      readonly kind: "answer";
      readonly id: string;
      readonly node: string;
      readonly answer: ControlAnswer | Unknown;
    };

/** A question of a kind that this node does not know, or another's answer that it did not know the question. */
export interface Unknown {
  readonly kind: "unknown";
}
const UNKNOWN: Unknown = { kind: "unknown" };

const TEXT_MAX = 1_024;
const PATTERNS_MAX = 10_000;

const text = z.string().min(1).max(TEXT_MAX);
const channel = z.string().min(1).max(CHANNEL_NAME_MAX);
const patterns = z.array(z.string().max(TEXT_MAX)).max(PATTERNS_MAX);
const count = z.number().int().nonnegative();
const absent = z.undefined().optional();
const target = z.union([
  z.object({ user: text, connection: absent }),
  z.object({ connection: text, user: absent }),
]);

const command = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("disconnect"),
    app: text,
    target,
    code: z.number().int().optional(),
    reason: z
      .string()
      .refine(
        (reason) => Buffer.byteLength(reason) <= CLOSE_MESSAGE_BYTES_MAX,
        `over ${CLOSE_MESSAGE_BYTES_MAX} bytes`,
      ),
  }),
  z.object({ kind: z.literal("unsubscribe"), app: text, target, channel }),
  z.object({
    kind: z.literal("subscribers"),
    app: text,
    channels: z.array(channel),
    counts: z.array(count),
  }),
  z.object({ kind: z.literal("recount") }),
  z.object({
    kind: z.literal("permit"),
    app: text,
    target,
    channels: patterns.optional(),
    publish: patterns.optional(),
  }),
]);

const question = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("channels"),
    app: text,
    prefix: z.string().max(CHANNEL_NAME_MAX),
    limit: count,
  }),
  z.object({ kind: z.literal("subscribers"), app: text, channels: z.array(channel) }),
  z.object({ kind: z.literal("connections"), app: text, user: text }),
  z.object({ kind: z.literal("readiness") }),
  z.object({ kind: z.literal("recorded") }),
]);

const answer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("channels"), counts: z.record(channel, count) }),
  z.object({ kind: z.literal("subscribers"), counts: z.array(count) }),
  z.object({
    kind: z.literal("connections"),
    connections: z.array(
      z.object({
        connection: text,
        userId: z.string().max(TEXT_MAX).nullable(),
        channels: z.array(channel),
        connectedAt: z.number(),
        lastActivity: z.number(),
      }),
    ),
  }),
  z.object({ kind: z.literal("readiness"), ready: z.boolean(), upgradeRate: count }),
  z.object({ kind: z.literal("recorded") }),
]);

const version = z.literal(CONTROL_VERSION);
const anyMessage = z.tuple([version, text]).rest(z.unknown());
/** With id and node. */
const exchange = z.tuple([version, text, text, text]).rest(z.unknown());
const anyKind = z.object({ kind: text });

/** @throws StarlingError bad_request for a command that the readers would refuse */
export function encodeControl(outgoing: ControlMessage): Buffer {
  switch (outgoing.kind) {
    case "command": {
      const written = withoutUndefined(asWritten(outgoing.command));
      const checked = command.safeParse(written);
      if (!checked.success) throw new StarlingError("bad_request", z.prettifyError(checked.error));
      return packMessage([CONTROL_VERSION, "command", written]);
    }
    case "ask":
      return packMessage([CONTROL_VERSION, "ask", outgoing.id, outgoing.node, outgoing.question]);
    case "answer":
      return packMessage([CONTROL_VERSION, "answer", outgoing.id, outgoing.node, outgoing.answer]);
  }
}

/** @throws Error saying what is wrong, or that it is of a kind that is unknown here */
export function decodeControl(bytes: Buffer): ControlMessage {
  const fields = read(anyMessage, unpackMessage(bytes));
  switch (fields[1]) {
    case "command": {
      if (!isKnown(command, fields[2]))
        throw new Error("a control command is of a kind that is unknown here");
      return { kind: "command", command: asRead(read(command, fields[2])) };
    }
    case "ask": {
      const [, , id, node, asked] = read(exchange, fields);
      return { kind: "ask", id, node, question: isKnown(question, asked) ? read(question, asked) : UNKNOWN };
    }
    case "answer": {
      const [, , id, node, answered] = read(exchange, fields);
      return {
        kind: "answer",
        id,
        node,
        answer: isKnown(answer, answered) ? read(answer, answered) : UNKNOWN,
      };
    }
    default:
      throw new Error("a control message is of a kind that is unknown here");
  }
}

function isKnown(kinds: typeof command | typeof question | typeof answer, value: unknown): boolean {
  const { data } = anyKind.safeParse(value);
  // What has no kind is wrong, which its reader says.
  return data === undefined || kinds.options.some(({ shape }) => shape.kind.value === data.kind);
}

function read<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const checked = schema.safeParse(value);
  if (!checked.success) throw new Error(`a control message is wrong: ${z.prettifyError(checked.error)}`);
  return checked.data;
}

/**
 * Nodes that know no other form are told by close code that a session went to another connection, and all of them
 * need one in a disconnect.
 */
const SUPERSEDED_CODE = 4006;
const DISCONNECTED_CODE = 4502;

type WrittenCommand = z.input<typeof command>;

function asWritten(given: ControlCommand): WrittenCommand {
  switch (given.kind) {
    case "supersede": {
      const target = { connection: given.connection };
      return { kind: "disconnect", app: DEFAULT_APP, target, code: SUPERSEDED_CODE, reason: "superseded" };
    }
    case "disconnect":
      return { ...given, code: DISCONNECTED_CODE };
    default:
      return given as WrittenCommand;
  }
}

function asRead(read: z.output<typeof command>): ControlCommand {
  if (read.kind !== "disconnect") return read;
  const { code, ...rest } = read;
  if (code === SUPERSEDED_CODE && rest.target.connection !== undefined) {
    return { kind: "supersede", connection: rest.target.connection };
  }
  return rest;
}

/** MessagePack has no undefined: msgpackr would write an extension, which readers refuse. */
function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]: [string, unknown]) => [
        name,
        typeof field === "object" && field !== null && !Array.isArray(field)
          ? withoutUndefined(field)
          : field,
      ]),
  ) as T;
}
