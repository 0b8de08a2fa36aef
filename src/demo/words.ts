/** What a peer said, made fit to be shown: anyone can publish anything to a channel. */

import type { Message } from "starling-edge/client";
import { NAME_MAX } from "./name.js";

/** What this page publishes. */
export interface Words {
  readonly name: string;
  readonly text: string;
  /** The sender's own mark of the message: by it one knows one's own, and what was sent twice. */
  readonly id: string;
}

export interface Heard {
  readonly name: string;
  readonly text: string;
  readonly id: string | undefined;
  /** Who the server says it was: a name can be anything, this cannot. */
  readonly origin: string;
  readonly node: string | undefined;
}

const TEXT_MAX = 4000;

export function hear({ content, from }: Message): Heard {
  const fields =
    typeof content === "object" && content !== null ? (content as Partial<Record<keyof Words, unknown>>) : {};
  const connection = from?.connection;
  const known = typeof fields.name === "string" && fields.name.trim() !== "" ? fields.name : undefined;
  return {
    name: cut(known ?? from?.user ?? (connection === undefined ? "the server" : "someone"), NAME_MAX),
    text: cut(typeof fields.text === "string" ? fields.text : plain(content), TEXT_MAX),
    id: typeof fields.id === "string" && fields.id.length <= 64 ? fields.id : undefined,
    origin: from?.user === undefined ? (connection ?? "the server") : `${from.user}, ${connection ?? ""}`,
    // A connection's id begins with its node's.
    node: connection?.includes(".") ? connection.slice(0, connection.lastIndexOf(".")) : undefined,
  };
}

function plain(content: unknown): string {
  if (typeof content === "string") return content;
  if (content instanceof Uint8Array) return `(${content.length} bytes)`;
  return JSON.stringify(content) ?? "(nothing)";
}

function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

/** Not crypto.randomUUID: a page over plain http from another machine does not have it. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
