/** Whether the node should get clients, and whether what clients ask has to wait for its registration. */

import type { Log } from "./log.js";

export interface ReadinessOptions {
  /** How long a frame may wait for a lapsed registration to stand again. */
  readonly registerTimeoutMs: number;
  readonly log: Log;
  readonly draining: () => boolean;
  /** The registration stands again: others may have taken this node for dead. */
  readonly registered: () => void;
  /** The bus was unreachable and is back: channels may have missed something. */
  readonly backAfterOutage: () => void;
}

export class Readiness {
  readonly #options: ReadinessOptions;
  /** Why the node as a whole is not open yet. */
  #held: string | undefined;
  #linkUp = false;
  #linkDownAtMs = 0;
  #registered = false;
  #outages = 0;
  /** After an outage of the bus the node is not ready before every channel has what it missed. */
  #catchingUp = false;
  #stopping = false;
  #gate: Promise<void> | undefined;
  #openGate: (() => void) | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  get linkUp(): boolean {
    return this.#linkUp;
  }

  /** A frame must wait for this; undefined: it need not. */
  get gate(): Promise<void> | undefined {
    return this.#gate;
  }

  /** Until `undefined` the node says that it is not ready, for this reason. */
  hold(reason: string | undefined): void {
    this.#held = reason;
  }

  /** Why this node should get no new clients now; none: it is ready. */
  get reasons(): string[] {
    const reasons: string[] = [];
    if (this.#options.draining()) reasons.push("draining");
    // What follows from it says nothing new.
    if (this.#held !== undefined) return [...reasons, this.#held];
    if (!this.#linkUp) reasons.push("the message bus is unreachable");
    if (!this.#registered) reasons.push("the node is not registered");
    if (this.#catchingUp)
      reasons.push("channels are catching up with what was published while the message bus was unreachable");
    return reasons;
  }

  setRegistered(registered: boolean): void {
    if (registered === this.#registered) return;
    this.#registered = registered;
    const { log, registerTimeoutMs } = this.#options;
    if (registered) {
      log.info({}, "registered");
      this.#options.registered();
      this.#openGate?.();
      return;
    }
    // A node that slept may learn of its lapse and of its lost link in either order. With a
    // link that has been away for long nothing can be registered: commands get their own errors.
    if (this.#linkUp || performance.now() - this.#linkDownAtMs < registerTimeoutMs) this.#closeGate();
  }

  setLink(up: boolean): void {
    if (up === this.#linkUp) return;
    this.#linkUp = up;
    const { log } = this.#options;
    if (up) {
      log.info({}, "the message bus is reachable");
      if (this.#catchingUp) this.#options.backAfterOutage();
      if (!this.#registered) this.#closeGate();
      return;
    }
    this.#linkDownAtMs = performance.now();
    this.#outages++;
    this.#catchingUp = true;
    // It ends with the node, which is no news.
    if (!this.#stopping)
      log.warn({}, "the message bus is unreachable: publishing fails until it is reachable again");
  }

  /**
   * Catches up, where the link is up: the node is ready again unless it goes down meanwhile.
   * @throws what `catchUp` throws
   */
  async catchUp(catchUp: () => Promise<void>): Promise<void> {
    if (!this.#linkUp) return;
    const outage = this.#outages;
    await catchUp();
    if (outage === this.#outages) this.#catchingUp = false;
  }

  /** Frames that wait are let through. */
  stop(): void {
    this.#stopping = true;
    this.#openGate?.();
  }

  /** Holds frames back until the registration stands, but no longer than registerTimeoutMs. */
  #closeGate(): void {
    if (this.#gate !== undefined) return;
    this.#gate = new Promise((resolve) => {
      const open = (): void => {
        clearTimeout(timer);
        this.#gate = undefined;
        this.#openGate = undefined;
        resolve();
      };
      const timer = setTimeout(open, this.#options.registerTimeoutMs);
      this.#openGate = open;
    });
  }
}
