/**
 * Presence as text, for sorted sets and the bus: lines, none of whose parts can hold a line end.
 * lua/presence-step.lua takes them apart and puts them together.
 */

import type { ChannelKey } from "../../core/broker.js";
import type { PresenceEvent, PresenceMember } from "../../core/presence.js";
import { checkChannelName } from "../../core/channel-name.js";
import { BUS_MESSAGE_BYTES_MAX } from "../bus/packing.js";

const HEADER = /^2 (\S+ \S+) ([1-9]\d{0,15})$/;
const LINES_PER_EVENT = 3;

export interface PresenceEvents {
  readonly epoch: string;
  /** Of the first of them, from 1: the others follow. */
  readonly number: number;
  readonly events: readonly PresenceEvent[];
}

/** As JSON escapes: no control characters, no lone surrogates, which would not survive UTF-8. */
function escape(part: string): string {
  return JSON.stringify(part).slice(1, -1);
}

/** @throws SyntaxError if escape cannot have made it */
function unescape(part: string): string {
  return JSON.parse(`"${part}"`) as string;
}

/** What every entry of a channel begins with, and of no other. */
export function entryPrefix(key: ChannelKey): string {
  return `${escape(key)}\n`;
}

export function encodeEntry(key: ChannelKey, { connection, user }: PresenceMember): string {
  const id = escape(connection);
  return entryPrefix(key) + (user === null ? `-${id}\n` : `=${escape(user)}\n${id}`);
}

/** @throws Error if it is none of encodeEntry */
export function decodeEntry(entry: string): { key: ChannelKey; member: PresenceMember } {
  const lines = entry.split("\n");
  if (lines.length !== LINES_PER_EVENT) throw new Error(`an entry has 3 lines, not ${lines.length}`);
  return decodeLines(lines[0]!, lines[1]!, lines[2]!);
}

function decodeLines(
  first: string,
  person: string,
  last: string,
): { key: ChannelKey; member: PresenceMember } {
  const key = unescape(first);
  const who = unescape(person.slice(1));
  if (person.startsWith("-") && last === "") return { key, member: { connection: who, user: null } };
  const connection = unescape(last);
  if (!person.startsWith("=") || connection === "") throw new Error("an entry names no connection");
  return { key, member: { connection, user: who } };
}

/**
 * Reads what a script published: all of it or nothing.
 * @throws Error saying what is wrong with it
 */
export function decodeEvents(bytes: Buffer): PresenceEvents {
  if (bytes.length > BUS_MESSAGE_BYTES_MAX) {
    throw new Error(`${bytes.length} bytes, at most ${BUS_MESSAGE_BYTES_MAX} are read`);
  }
  const [header = "", ...lines] = bytes.toString("utf8").split("\n");
  const [, epoch, number] = HEADER.exec(header) ?? [];
  if (epoch === undefined) throw new Error("events of an unknown version");
  if (lines.length === 0 || lines.length % LINES_PER_EVENT !== 0) {
    throw new Error(`${lines.length} lines are not three for each event`);
  }
  const events: PresenceEvent[] = [];
  for (let at = 0; at < lines.length; at += LINES_PER_EVENT) {
    const sign = lines[at]!.charAt(0);
    if (sign !== "+" && sign !== "-") throw new Error("an event that neither joins nor leaves");
    const { key, member } = decodeLines(lines[at]!.slice(1), lines[at + 1]!, lines[at + 2]!);
    const slash = key.indexOf("/");
    if (slash < 1) throw new Error("an event of no channel");
    checkChannelName(key.slice(slash + 1));
    if (member.connection === "") throw new Error("an event of no connection");
    events.push({ key, kind: sign === "+" ? "join" : "leave", member });
  }
  return { epoch, number: Number(number), events };
}
