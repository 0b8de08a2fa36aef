import type { Clock, Timer } from "./clock.js";
import { Backoff } from "./backoff.js";
import { StarlingError, messageOf } from "./error.js";
import type { Settle } from "./pending-commands.js";

/**
 * A token, or what fetches a fresh one: called before each connect and before a token runs out. Where it gives null
 * there is none and there will be none, as after a logout: the client closes for good.
 */
export type TokenOption = string | (() => string | null | Promise<string | null>);

export interface TokensOptions {
  readonly token: TokenOption | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  /** The longest that the callback may take. */
  readonly timeoutMs: number;
  /** Sends a refresh command on the open connection. */
  refresh(token: string, settle: Settle): void;
  /** The callback gave null for the open connection. */
  stopped(): void;
  report(error: StarlingError): void;
}

/** Sooner is never refreshed, however soon the token runs out. */
const REFRESH_MIN_MS = 5_000;
const REFRESH_AT = 0.9;

/** Fetches tokens and keeps the open connection's from running out. */
export class Tokens {
  /** Whether a fresh token can be had: a string that was refused stays refused. */
  readonly renewable: boolean;
  readonly #options: TokensOptions;
  readonly #backoff: Backoff;
  #timer: Timer;
  /** Until when the callback is waited for. */
  #deadline: Timer;
  /** Changes when the connection does: what was begun for an earlier one is then let go. */
  #turn = 0;

  constructor(options: TokensOptions) {
    this.#options = options;
    this.renewable = typeof options.token === "function";
    this.#backoff = new Backoff({ baseMs: REFRESH_MIN_MS, capMs: 30_000, random: options.random });
  }

  /**
   * @returns null: coming back is useless
   * @throws StarlingError token_unavailable: the callback failed, or took too long
   */
  async get(): Promise<string | null | undefined> {
    const { token, clock, timeoutMs } = this.#options;
    if (typeof token !== "function") return token;
    let timer: Timer;
    try {
      const late = new Promise<never>((_resolve, reject) => {
        timer = clock.setTimeout(() => reject(new Error(`no token within ${timeoutMs} ms`)), timeoutMs, true);
        this.#deadline = timer;
      });
      const fetched: unknown = await Promise.race([token(), late]);
      if (typeof fetched === "string" || fetched === null) return fetched;
      throw new TypeError(`it gave ${typeof fetched}, not a string, or null to stop`);
    } catch (cause) {
      const message = `the token callback failed: ${messageOf(cause)}`;
      throw new StarlingError("token_unavailable", message, { cause });
    } finally {
      clock.clearTimeout(timer);
    }
  }

  /**
   * Refreshes at nine tenths of the life that is left.
   * @param expiresInMs  by the server's clock: this machine's may be wrong
   */
  keepFresh(expiresInMs: unknown): void {
    this.stop();
    if (!this.renewable || typeof expiresInMs !== "number") return;
    this.#backoff.reset();
    this.#refreshAfter(Math.max(REFRESH_MIN_MS, expiresInMs * REFRESH_AT));
  }

  stop(): void {
    this.#turn++;
    this.#options.clock.clearTimeout(this.#timer);
    this.#options.clock.clearTimeout(this.#deadline);
  }

  #refreshAfter(delayMs: number): void {
    const turn = this.#turn;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.get().then(
        (token) => {
          if (turn !== this.#turn) return;
          if (token === null) this.#options.stopped();
          else this.#refresh(turn, token!);
        },
        (error: StarlingError) => turn === this.#turn && this.#failed(error),
      );
    }, delayMs);
  }

  #refresh(turn: number, token: string): void {
    this.#options.refresh(token, (error, reply) => {
      if (turn !== this.#turn) return;
      if (reply !== undefined) this.keepFresh(reply["expiresInMs"]);
      // A token that had expired came from a cache, or late: the callback has another in a while.
      else if (error?.temporary || error?.code === "token_expired") this.#failed(error);
      // A refused token: the connection lives until the old one runs out.
      else if (error) this.#options.report(error);
    });
  }

  #failed(error: StarlingError): void {
    this.#options.report(error);
    this.#refreshAfter(Math.max(REFRESH_MIN_MS, this.#backoff.next(error.retryAfterMs)));
  }
}
