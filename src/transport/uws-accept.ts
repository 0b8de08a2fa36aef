/** Counts the sockets of a listener from the moment that they are accepted, and closes those beyond its limits. */

import type { HttpResponse, TemplatedApp } from "uWebSockets.js";
import { AddressShares } from "../core/address-shares.js";
import { addressKey } from "../core/client-address.js";

export interface AcceptLimits {
  /** Sockets at a time, WebSockets and others. */
  readonly maxSockets: number;
  /** Of these, those that are no WebSocket (yet): uWebSockets.js ends them once they idle for 10 s. */
  readonly maxIdle: number;
  /** Percent of the idle ones that one address may open while half of them are taken; 100: no share. */
  readonly sharePercent: number;
}

export type AcceptRefusal = "sockets_full" | "sockets_idle_full" | "sockets_idle_ip";

/** uWebSockets.js ends a socket that sends nothing, or an unfinished head, after so long. */
const IDLE_SECONDS = 10;

export class AcceptGuard {
  readonly #limits: AcceptLimits;
  readonly #refused: (reason: AcceptRefusal) => void;
  readonly #shares: AddressShares | undefined;
  #sockets = 0;
  #upgraded = 0;

  constructor(limits: AcceptLimits, refused: (reason: AcceptRefusal) => void) {
    this.#limits = limits;
    this.#refused = refused;
    const most = Math.min(limits.maxIdle, limits.maxSockets);
    if (limits.sharePercent < 100 && most < Infinity) {
      const burst = Math.max(1, Math.floor((most * limits.sharePercent) / 100));
      const perSecond = burst / IDLE_SECONDS;
      this.#shares = new AddressShares({ perSecond, burst, nowMs: performance.now() });
    }
  }

  /** Sockets that are no WebSocket, or not yet. */
  get idle(): number {
    return this.#sockets - this.#upgraded;
  }

  /** Half of the places for idle sockets are taken: who keeps one by asking again and again has to let it go. */
  get scarce(): boolean {
    return this.idle * 2 > this.#room;
  }

  /** Must be called before the app listens. */
  watch(app: TemplatedApp): void {
    // The declarations lack it. It tells of every socket's beginning, and of the end of those that were not upgraded.
    const { filter } = app as unknown as {
      filter: (handler: (res: HttpResponse, change: 1 | -1) => void) => void;
    };
    filter.call(app, (res, change) => {
      this.#sockets += change;
      if (change === -1) return;
      const reason = this.#refusal(res);
      if (reason === undefined) return;
      this.#refused(reason);
      // At once, without an answer: a socket that waits for one is what there is no room for.
      res.close();
    });
  }

  upgraded(): void {
    this.#upgraded++;
  }

  /** An upgraded one closed. */
  closed(): void {
    this.#upgraded--;
    this.#sockets--;
  }

  /** For idle sockets. */
  get #room(): number {
    const { maxSockets, maxIdle } = this.#limits;
    return Math.min(maxIdle, maxSockets - this.#upgraded);
  }

  #refusal(res: HttpResponse): AcceptRefusal | undefined {
    if (this.#sockets > this.#limits.maxSockets) return "sockets_full";
    if (this.idle > this.#room) return "sockets_idle_full";
    if (this.#shares === undefined || !this.scarce) return undefined;
    const address = addressKey(new Uint8Array(res.getRemoteAddress()));
    return this.#shares.take(address, performance.now()) ? undefined : "sockets_idle_ip";
  }
}
