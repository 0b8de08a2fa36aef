/** The native protocol as the client sees it; src/protocols/starling/messages.ts is its source. */

import type { Bytes } from "./bytes.js";
import type { Action, WelcomeMessage } from "../protocols/starling/messages.js";
import type { Position, Tags } from "../protocols/starling/words.js";
import { StarlingError, type ClientErrorCode } from "./error.js";
import { hintOf } from "./backoff.js";

/** A command on its way to a codec; `content` may be a Uint8Array. Absent fields are not undefined. */
export interface OutgoingCommand {
  readonly action: Action;
  readonly id: number;
  readonly channel?: string;
  readonly content?: unknown;
  readonly event?: string;
  readonly tags?: Tags;
  readonly echo?: boolean;
  readonly token?: string;
  readonly resume?: string;
  readonly messageId?: string;
  readonly since?: Position;
  readonly positions?: Readonly<Record<string, Position>>;
  readonly limit?: number;
  readonly reverse?: boolean;
}

/** A decoded frame. Its fields are the server's word: check before use. */
export interface Frame {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** One wire format. `json` is built in; `msgpack` comes from "starling-client/msgpack". */
export interface ClientCodec {
  readonly subprotocol: string;
  /** @throws where the content cannot be encoded */
  encode(command: OutgoingCommand): string | Bytes;
  /** Bytes in a message come out as a Uint8Array in `content`. @throws where the frame cannot be read */
  decode(frame: string | Uint8Array): unknown;
}

/** Tells the console what the client does and what goes over the wire. */
export type Debug = (...what: unknown[]) => void;

/** @throws Error unless the value is an object with a `type` */
export function asFrame(value: unknown): Frame {
  if (typeof value === "object" && value !== null && typeof (value as Frame).type === "string") {
    return value as Frame;
  }
  throw new Error('it is not an object with a "type"');
}

export function errorOf(frame: Frame): StarlingError {
  const options = { retryAfterMs: hintOf(frame["retryAfterMs"]), sent: true };
  return new StarlingError(
    String(frame["code"]) as ClientErrorCode,
    String(frame["message"]),
    typeof frame["temporary"] === "boolean" ? { ...options, temporary: frame["temporary"] } : options,
  );
}

export function stringOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

const positive = (value: unknown, otherwise: number): number =>
  typeof value === "number" && value > 0 && Number.isFinite(value) ? value : otherwise;

/** The parts of a welcome that the client acts on, with the protocol's defaults for what is missing. */
export interface Welcome extends Pick<WelcomeMessage, "node" | "connection" | "session" | "authenticate"> {
  readonly resume: string | undefined;
  readonly heartbeat: WelcomeMessage["heartbeat"];
  readonly frameBytes: number;
}

export function welcomeOf(frame: Frame): Welcome {
  const heartbeat = (frame["heartbeat"] ?? {}) as Record<string, unknown>;
  const limits = (frame["limits"] ?? {}) as Record<string, unknown>;
  return {
    node: String(frame["node"]),
    connection: String(frame["connection"]),
    session: String(frame["session"]),
    resume: stringOf(frame["resume"]),
    authenticate: frame["authenticate"] === true,
    heartbeat: {
      intervalMs: positive(heartbeat["intervalMs"], 30_000),
      timeoutMs: positive(heartbeat["timeoutMs"], 10_000),
    },
    frameBytes: positive(limits["frameBytes"], Infinity),
  };
}
