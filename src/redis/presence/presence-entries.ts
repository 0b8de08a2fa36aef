/**
 * Presence as text, for sorted sets and the bus: lines, none of whose parts can hold a line end.
 * lua/presence-step.lua takes them apart and puts them together.
 */

import { isUtf8 } from "node:buffer";

import type { ChannelKey } from "../../core/broker.js";
import type { PresenceEvent, PresenceMember } from "../../core/presence.js";
import { checkChannelName } from "../../core/channel-name.js";
import { checkMemberInfo } from "../../core/member-info.js";
import { PeerError } from "../../encoding/peer-error.js";
import { BUS_MESSAGE_BYTES_MAX } from "../bus/packing.js";

const HEADER = /^([23]) (\S+ \S+) ([1-9]\d{0,15})$/;
const LINES_PER_ENTRY = 3;
/** Whose events have info, and a kind more: before, nodes read none of it. */
const VERSION_WITH_INFO = "3";
const KINDS: Readonly<Record<string, PresenceEvent["kind"]>> = { "+": "join", "-": "leave", "=": "update" };

export interface PresenceEvents {
  readonly epoch: string;
  /** Of the first of them, from 1: the others follow. */
  readonly number: number;
  /** undefined: one that cannot be read. */
  readonly events: readonly (PresenceEvent | undefined)[];
  /** What is wrong with the first of those. */
  readonly problem?: PresenceEventsError;
}

/** Most parts are written as they are. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** As JSON escapes: no control characters, no lone surrogates, which would not survive UTF-8. */
function escape(part: string): string {
  return PLAIN.test(part) ? part : JSON.stringify(part).slice(1, -1);
}

/** @throws SyntaxError if escape cannot have made it */
function unescape(part: string): string {
  return PLAIN.test(part) ? part : (JSON.parse(`"${part}"`) as string);
}

/** What every entry of a channel begins with, and of no other. */
export function entryPrefix(key: ChannelKey): string {
  return `${escape(key)}\n`;
}

/** Behind the connection of a member whose user's id was given as a number. No escaped part holds it. */
const NUMBER_MARK = "\t";

export function encodeEntry(key: ChannelKey, { connection, user, userIsNumber }: PresenceMember): string {
  const id = escape(connection);
  const mark = userIsNumber === true ? NUMBER_MARK : "";
  return entryPrefix(key) + (user === null ? `-${id}\n` : `=${escape(user)}\n${id}${mark}`);
}

/** @throws Error if it is none of encodeEntry */
export function decodeEntry(entry: string): { key: ChannelKey; member: PresenceMember } {
  const lines = entry.split("\n");
  if (lines.length !== LINES_PER_ENTRY) throw new Error(`an entry has 3 lines, not ${lines.length}`);
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
  const userIsNumber = last.endsWith(NUMBER_MARK);
  const connection = unescape(userIsNumber ? last.slice(0, -NUMBER_MARK.length) : last);
  if (!person.startsWith("=") || connection === "") throw new Error("an entry names no connection");
  return { key, member: { connection, user: who, ...(userIsNumber ? { userIsNumber } : undefined) } };
}

/** What a script published cannot be read. */
export class PresenceEventsError extends PeerError {
  constructor(message: string) {
    super(message);
    this.name = "PresenceEventsError";
  }
}

/**
 * Reads what a script published. One event that cannot be read takes no other with it.
 * @throws PresenceEventsError saying what is wrong with it, where no event can be read
 */
export function decodeEvents(bytes: Buffer): PresenceEvents {
  if (bytes.length > BUS_MESSAGE_BYTES_MAX) {
    throw new PresenceEventsError(`${bytes.length} bytes, at most ${BUS_MESSAGE_BYTES_MAX} are read`);
  }
  const [header = "", ...lines] = bytes.toString("utf8").split("\n");
  const [, version, epoch, number] = HEADER.exec(header) ?? [];
  if (epoch === undefined) throw new PresenceEventsError("events of an unknown version");
  const withInfo = version === VERSION_WITH_INFO;
  const linesPerEvent = withInfo ? LINES_PER_ENTRY + 1 : LINES_PER_ENTRY;
  if (lines.length === 0 || lines.length % linesPerEvent !== 0) {
    throw new PresenceEventsError(`${lines.length} lines are not ${linesPerEvent} for each event`);
  }
  // Replaced by U+FFFD it would be another info.
  if (withInfo && !isUtf8(bytes)) throw new PresenceEventsError("events that are no UTF-8");
  const events: (PresenceEvent | undefined)[] = [];
  let problem: PresenceEventsError | undefined;
  let read = 0;
  for (let at = 0; at < lines.length; at += linesPerEvent) {
    try {
      events.push(decodeEvent(lines, at, withInfo));
      read++;
    } catch (error) {
      events.push(undefined);
      problem ??= new PresenceEventsError(`event ${events.length}: ${String(error)}`);
    }
  }
  const told = { epoch, number: Number(number), events };
  if (problem === undefined) return told;
  if (read === 0) throw problem;
  return { ...told, problem };
}

/** @throws Error saying what is wrong with it */
function decodeEvent(lines: readonly string[], at: number, withInfo: boolean): PresenceEvent {
  const sign = lines[at]!.charAt(0);
  const kind = Object.hasOwn(KINDS, sign) ? KINDS[sign] : undefined;
  if (kind === undefined || (kind === "update" && !withInfo)) throw new Error("an event of an unknown kind");
  const { key, member } = decodeLines(lines[at]!.slice(1), lines[at + 1]!, lines[at + 2]!);
  const slash = key.indexOf("/");
  if (slash < 1) throw new Error("an event of no channel");
  checkChannelName(key.slice(slash + 1));
  if (member.connection === "") throw new Error("an event of no connection");
  const info = withInfo ? lines[at + LINES_PER_ENTRY]! : "";
  if (info === "") return { key, kind, member };
  if (kind === "leave") throw new Error("a leave with info");
  checkMemberInfo(info);
  return { key, kind, member: { ...member, info } };
}
