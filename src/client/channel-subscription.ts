import type { Position } from "../protocols/starling/words.js";
import type { Backoff } from "./backoff.js";
import type { Timer } from "./clock.js";
import type { StarlingError } from "./error.js";
import type { Frame } from "./frames.js";
import { judge, positionOf, reaches, standingOf } from "./position.js";
import type { Handler, Subscribed, SubscribeOptions } from "./types.js";

export interface Handle {
  readonly handler: Handler<never>;
  readonly options: SubscribeOptions;
}

/** Resolved, rejected or still open. */
export class Ready {
  settled = false;
  /** Whether the application has taken the promise. */
  watched = false;
  resolve!: () => void;
  reject!: (error: StarlingError) => void;
  readonly promise: Promise<void>;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = () => ((this.settled = true), resolve());
      this.reject = (error) => ((this.settled = true), reject(error));
    });
    // Who does not look at `ready` is told by events: Node must not end the process for it.
    this.promise.catch(() => undefined);
  }
}

/** One channel that the application wants, with everyone who listens to it. */
export class ChannelSubscription {
  readonly handles = new Set<Handle>();
  /** Whether the open connection's server holds the subscription. */
  held = false;
  /** The session brought it along and the server will say where it stands. */
  recovering = false;
  /** The server may hold it in a way that this client cannot go on from: ended before it is asked for. */
  unsure = false;
  /** Up to here every message was had; undefined where the channel has no positions. */
  position: Position | undefined;
  ready = new Ready();
  retry: Timer;

  constructor(
    readonly channel: string,
    readonly backoff: Backoff,
  ) {}

  /** Takes note of a message's position. @returns whether it is the next one, or what is wrong with it */
  accept(message: Frame): "next" | "duplicate" | "jump" {
    const next = positionOf(message);
    if (next === undefined) return "next";
    // Not held: it is among what the server sends once it answers, or was meant for a subscription before.
    if (!this.held) return "duplicate";
    const verdict = judge(this.position, next);
    if (verdict === "next") this.position = next;
    return verdict;
  }

  /** The server holds the subscription. @returns what it says of it, and whether nothing was lost */
  hold(frame: Frame): { readonly told: Subscribed; readonly whole: boolean } {
    const { position: before } = this;
    const { position, recovered } = standingOf(frame);
    const whole = position === undefined || (recovered !== false && reaches(before, position));
    // Otherwise what it sends again is dropped.
    if (!whole || before === undefined || position === undefined) this.position = position;
    this.held = true;
    this.recovering = false;
    this.unsure = false;
    this.backoff.reset();
    this.ready.resolve();
    const { channel } = this;
    const told = {
      channel,
      ...(recovered === undefined ? {} : { recovered: recovered && whole }),
      ...position,
    };
    return { told, whole };
  }

  lost(): void {
    this.held = false;
    this.recovering = false;
    if (this.ready.settled) this.ready = new Ready();
  }
}
