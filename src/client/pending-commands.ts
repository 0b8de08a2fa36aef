import { utf8Length, type Bytes } from "./bytes.js";
import type { Clock, Timer } from "./clock.js";
import { StarlingError, messageOf } from "./error.js";
import { errorOf, type ClientCodec, type Debug, type Frame, type OutgoingCommand } from "./frames.js";

/** Takes a command's error or its reply. It is called once, in the turn in which the frame arrived. */
export type Settle = (error: StarlingError | undefined, reply: Frame | undefined) => void;

/** Where frames go: one connection. */
export interface Outlet {
  /** @returns the frame's number on this connection, from 1 on */
  send(frame: string | Bytes): number;
  /** The largest frame that the node takes. */
  readonly frameBytes: number;
}

interface Waiting {
  readonly id: number;
  /** The command's name in error messages: `publish to "room"`. */
  readonly name: string;
  /** Encoded when the command was made: what the application changes later is not sent. */
  readonly frame: string | Bytes;
  readonly settle: Settle;
  timer: Timer;
  /** The number of its frame on the open connection; 0 while it is not sent. */
  number: number;
}

export interface PendingCommandsOptions {
  readonly clock: Clock;
  readonly codec: ClientCodec;
  /** How many commands may wait for a connection. */
  readonly queueMax: number;
  readonly debug: Debug | undefined;
}

function exceeds(frame: string | Uint8Array, bytesMax: number): boolean {
  // A UTF-16 unit takes at most 3 bytes of UTF-8: most frames need no exact count.
  if (typeof frame === "string" && frame.length * 3 <= bytesMax) return false;
  return (typeof frame === "string" ? utf8Length(frame) : frame.length) > bytesMax;
}

/**
 * PendingCommands from their making to their answer. Each settles once: with its reply,
 * its error, at its deadline, or when its connection breaks. None is sent twice.
 */
export class PendingCommands {
  readonly #options: PendingCommandsOptions;
  /** Oldest first: also the order of the queue. */
  readonly #waiting = new Map<number, Waiting>();
  #outlet: Outlet | undefined;
  #nextId = 1;
  #queued = 0;

  constructor(options: PendingCommandsOptions) {
    this.#options = options;
  }

  /** Sends at once where `outlet` or the open one can take it; else queues, up to the bound. */
  start(
    name: string,
    command: Omit<OutgoingCommand, "id">,
    timeoutMs: number,
    settle: Settle,
    outlet: Outlet | undefined = this.#outlet,
  ): void {
    const { codec, queueMax, clock } = this.#options;
    if (outlet === undefined && this.#queued >= queueMax) {
      const why =
        queueMax === 0 ? "and offline.queue is 0" : `and the offline queue is full (${queueMax} commands)`;
      return settle(new StarlingError("unavailable", `${name}: there is no connection ${why}`), undefined);
    }
    const id = this.#nextId++;
    let frame: string | Bytes;
    try {
      frame = codec.encode({ ...command, id });
    } catch (cause) {
      const message = `${name}: the content cannot be encoded: ${messageOf(cause)}`;
      return settle(new StarlingError("bad_request", message, { cause }), undefined);
    }
    const waiting: Waiting = { id, name, frame, settle, timer: undefined, number: 0 };
    this.#waiting.set(id, waiting);
    this.#queued++;
    waiting.timer = clock.setTimeout(() => this.#expired(waiting, timeoutMs), timeoutMs);
    if (outlet !== undefined) this.#send(waiting, outlet);
  }

  /** A connection is ready: commands are sent at once from now on; flush sends those that wait. */
  open(outlet: Outlet): void {
    this.#outlet = outlet;
  }

  /** Sends what waited for a connection, oldest first. */
  flush(outlet: Outlet): void {
    for (const waiting of [...this.#waiting.values()]) {
      if (waiting.number === 0) this.#send(waiting, outlet);
    }
  }

  /** The connection is gone: the outcome of what was sent on it is unknown; what was not sent stays queued. */
  broken(why: string): void {
    this.#outlet = undefined;
    for (const waiting of [...this.#waiting.values()]) {
      if (waiting.number === 0) continue;
      const message = `${waiting.name}: ${why} before the answer came: the outcome is unknown`;
      this.#settle(waiting, new StarlingError("outcome_unknown", message, { sent: true }), undefined);
    }
  }

  /** The client is closed: nothing that still waits will be sent. */
  end(why: string): void {
    this.broken(why);
    for (const waiting of [...this.#waiting.values()]) {
      this.#settle(waiting, new StarlingError("closed", `${waiting.name}: ${why}`), undefined);
    }
  }

  /** Settles the command that a reply or error names. @returns false where it names none that waits */
  answer(frame: Frame): boolean {
    const waiting = this.#waiting.get(frame["id"] as number);
    if (waiting === undefined || waiting.number === 0) return false;
    if (frame.type === "reply") this.#settle(waiting, undefined, frame);
    else this.#settle(waiting, errorOf(frame), undefined);
    return true;
  }

  /**
   * Fails the commands whose frames the server dropped unread, being over the rate limit.
   * @returns whether there was any
   */
  dropped(frame: Frame): boolean {
    const { from, to } = (frame["dropped"] ?? {}) as Partial<Record<string, unknown>>;
    if (typeof from !== "number" || typeof to !== "number") return false;
    const lost = [...this.#waiting.values()].filter(({ number }) => number >= from && number <= to);
    for (const waiting of lost) this.#settle(waiting, errorOf(frame), undefined);
    return lost.length > 0;
  }

  #send(waiting: Waiting, outlet: Outlet): void {
    if (exceeds(waiting.frame, outlet.frameBytes)) {
      // The node refuses it at best; a much larger one ends the connection without a word.
      const message = `${waiting.name}: the frame is larger than the ${outlet.frameBytes} bytes that the node takes`;
      return this.#settle(waiting, new StarlingError("too_large", message), undefined);
    }
    this.#queued--;
    this.#options.debug?.("->", waiting.name);
    waiting.number = outlet.send(waiting.frame);
  }

  #expired(waiting: Waiting, timeoutMs: number): void {
    const sent = waiting.number > 0;
    const message = sent
      ? `${waiting.name}: no answer within ${timeoutMs} ms: the outcome is unknown`
      : `${waiting.name}: no connection within ${timeoutMs} ms: it was not sent`;
    this.#settle(waiting, new StarlingError("timeout", message, { sent }), undefined);
  }

  #settle(waiting: Waiting, error: StarlingError | undefined, reply: Frame | undefined): void {
    // A settle function may settle others: each only once.
    if (!this.#waiting.delete(waiting.id)) return;
    if (waiting.number === 0) this.#queued--;
    this.#options.clock.clearTimeout(waiting.timer);
    waiting.settle(error, reply);
  }
}
