/** What a peer said, made fit to be shown: anyone can publish anything to a channel. */

import type { Message, Position } from "starling-edge/client";
import { fitName } from "./name.js";

/** What this page publishes. */
export interface ChatContent {
  readonly name: string;
  readonly text: string;
  /** The sender's own mark of the message: by it one knows one's own, and what was sent twice. */
  readonly id: string;
  /** When it was said, in ms since 1970 by the sender's clock: what is read from history came long before. */
  readonly at: number;
}

export interface ChatMessage {
  readonly name: string;
  /** Whether the sender gave that name. */
  readonly named: boolean;
  readonly text: string;
  readonly id: string | undefined;
  /** By the sender's clock, but never in the future. */
  readonly saidAt: Date | undefined;
  readonly position: Position | undefined;
  /** Who the server says it was: a name can be anything, this cannot. */
  readonly origin: string;
  readonly node: string | undefined;
}

const TEXT_MAX = 4000;

export function readMessage({ content, from, offset, epoch }: Message): ChatMessage {
  const fields =
    typeof content === "object" && content !== null
      ? (content as Partial<Record<keyof ChatContent, unknown>>)
      : {};
  const connection = from?.connection;
  const known = typeof fields.name === "string" && fields.name.trim() !== "" ? fields.name : undefined;
  return {
    name: fitName(known ?? from?.user ?? (connection === undefined ? "the server" : "someone")),
    named: known !== undefined,
    text: cut(typeof fields.text === "string" ? fields.text : plain(content)),
    id: typeof fields.id === "string" && fields.id.length <= 64 ? fields.id : undefined,
    saidAt: pastOf(fields.at),
    position: offset === undefined || epoch === undefined ? undefined : { offset, epoch },
    origin: from?.user === undefined ? (connection ?? "the server") : `${from.user}, ${connection ?? ""}`,
    node: connection === undefined ? undefined : nodeOf(connection),
  };
}

/** A connection's id begins with its node's. */
export function nodeOf(connection: string): string | undefined {
  return connection.includes(".") ? connection.slice(0, connection.lastIndexOf(".")) : undefined;
}

function pastOf(ms: unknown): Date | undefined {
  return typeof ms === "number" && ms >= 0 ? new Date(Math.min(ms, Date.now())) : undefined;
}

function plain(content: unknown): string {
  if (typeof content === "string") return content;
  if (content instanceof Uint8Array) return `(${content.length} bytes)`;
  return JSON.stringify(content) ?? "(nothing)";
}

function cut(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

/** Not crypto.randomUUID: a page over plain http from another machine does not have it. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
