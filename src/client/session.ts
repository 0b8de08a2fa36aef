import { Backoff } from "./backoff.js";
import type { Timer } from "./clock.js";
import type { PendingCommands } from "./pending-commands.js";
import type { Position } from "../protocols/starling/words.js";
import { ConnectFailures } from "./connect-failure.js";
import { messageOf, type StarlingError } from "./error.js";
import { stringOf, type Frame, type Welcome } from "./frames.js";
import { Connection, type ConnectionEnd } from "./connection.js";
import { watchNetwork, type NetworkNews } from "./network-watch.js";
import type { ResolvedOptions } from "./options.js";
import type { Restored, Subscriptions } from "./subscriptions.js";
import { Tokens } from "./token.js";
import type { ConnectionInfo, Reason, State, StateChange } from "./types.js";
import { hideSecrets } from "./url.js";

export interface SessionHandlers {
  changed(change: StateChange): void;
  /** Frames that answer no command. */
  push(frame: Frame): void;
  readonly report: (error: StarlingError) => void;
}

const TOKEN_EXPIRED_CLOSE = 4002;
const SUPERSEDED_CLOSE = 4006;
/** What a position takes in a frame besides the channel's name and the epoch. */
const POSITION_BYTES = 64;
const NOTHING_RESTORED: Restored = { channels: [], recovering: new Set(), told: new Set(), user: null };
/** An open connection that the network's news make doubtful has so long to answer. */
const ANSWER_MS: Readonly<Record<NetworkNews, number>> = { online: 1_000, perhaps: 5_000 };
/** The platform's news start attempts no closer than this. */
const ATTEMPT_GAP_MS = 500;

/** Keeps a client connected: attempts, authentication, resumption, waiting, and the end. */
export class Session {
  state: State = "connecting";
  info: ConnectionInfo | undefined;
  readonly #options: ResolvedOptions;
  readonly #handlers: SessionHandlers;
  readonly #commands: PendingCommands;
  readonly #subscriptions: Subscriptions;
  readonly #tokens: Tokens;
  readonly #backoff: Backoff;
  /** Nothing is told once the client is closed. */
  readonly #report: (error: StarlingError) => void;
  #connection: Connection | undefined;
  /** The newest one: gives the session's subscriptions back, once. */
  #resume: string | undefined;
  /** Which URL the next attempt takes. */
  #urlIndex = 0;
  #connectedAt: number | undefined;
  #retry: Timer;
  readonly #failures: ConnectFailures;
  readonly #unwatch: () => void;
  /** Attempts so far, and the end: one that still fetches its token is let go once there is another. */
  #attempts = 0;
  #attemptedAt = 0;
  #retryAt = 0;
  /** The server asked for a pause until then. */
  #notBefore = 0;

  constructor(
    options: ResolvedOptions,
    commands: PendingCommands,
    subscriptions: Subscriptions,
    handlers: SessionHandlers,
  ) {
    this.#options = options;
    this.#commands = commands;
    this.#subscriptions = subscriptions;
    this.#handlers = handlers;
    this.#backoff = new Backoff(options);
    this.#report = (error) => {
      if (this.state !== "closed") handlers.report(error);
    };
    this.#tokens = new Tokens({
      token: options.token,
      clock: options.clock,
      random: options.random,
      timeoutMs: options.connectTimeoutMs,
      refresh: (token, settle) =>
        commands.start("refresh", { action: "refresh", token }, options.timeoutMs, settle),
      stopped: () => this.#stopped(),
      report: this.#report,
    });
    this.#failures = new ConnectFailures(options.clock, this.#report);
    this.#unwatch = watchNetwork((news) => this.#heard(news));
  }

  async open(): Promise<void> {
    const { clock, urls } = this.#options;
    const attempt = ++this.#attempts;
    clock.clearTimeout(this.#retry);
    this.#attemptedAt = clock.now();
    this.#change({ state: "connecting", attempt: this.#backoff.attempts + 1 });
    // Who heard that may have closed the client, or have had it connect anew.
    if (attempt !== this.#attempts) return;
    let token: string | null | undefined;
    try {
      token = await this.#tokens.get();
    } catch (error) {
      if (attempt !== this.#attempts) return;
      this.#wait(error as StarlingError);
      // Last: who hears it may close the client, or have it connect.
      return this.#report(error as StarlingError);
    }
    if (attempt !== this.#attempts) return;
    if (token === null) return this.#stopped();
    this.#connect(urls[this.#urlIndex % urls.length]!, token);
  }

  /** Now, to a new connection; the session is resumed. */
  reconnect(why: string): void {
    this.#backoff.reset();
    this.#connection?.abandon(why);
    if (this.state !== "closed") void this.open();
  }

  #heard(news: NetworkNews): void {
    const { clock } = this.#options;
    if (this.state === "connected") return this.#connection!.askNow(ANSWER_MS[news]);
    if (news === "online") this.#backoff.reset();
    // An attempt that is on its way goes on.
    if (this.state !== "waiting") return;
    const now = clock.now();
    const delayMs = Math.max(0, this.#notBefore - now, this.#attemptedAt + ATTEMPT_GAP_MS - now);
    if (now + delayMs >= this.#retryAt) return;
    this.#retryAfter(delayMs);
  }

  #retryAfter(delayMs: number): void {
    const { clock } = this.#options;
    clock.clearTimeout(this.#retry);
    this.#retryAt = clock.now() + delayMs;
    // Keeps a Node process up: between two connections nothing else would.
    this.#retry = clock.setTimeout(() => void this.open(), delayMs, true);
  }

  #stopped(): void {
    this.close({ code: "unauthorized", message: "the token callback gave null: there is no token" });
  }

  #connect(url: string, token: string | undefined): void {
    try {
      this.#connection = new Connection(
        { ...this.#options, url },
        {
          welcome: (welcome) => this.#welcomed(welcome, token),
          frame: (frame) => {
            const { id, dropped } = frame as Partial<Record<string, unknown>>;
            const answered =
              id === undefined
                ? dropped !== undefined && this.#commands.dropped(frame)
                : this.#commands.answer(frame);
            if (!answered) this.#handlers.push(frame);
          },
          probe: () => this.#probe(),
          unreadable: this.#report,
          ended: (end) => this.#ended(end, url),
        },
      );
    } catch (cause) {
      // Such as ws:// on an https page: no later attempt goes better.
      this.close({ code: "bad_request", message: hideSecrets(messageOf(cause), url) });
    }
  }

  /** For good. */
  close(reason: Reason): void {
    if (this.state === "closed") return;
    const connection = this.#connection;
    this.#attempts++;
    this.#unwatch();
    this.#lost();
    this.#failures.stop();
    this.#options.clock.clearTimeout(this.#retry);
    connection?.close("closed by the application");
    // First the state: what is rejected below may be answered by a new call.
    this.state = "closed";
    this.#subscriptions.end(reason.message);
    this.#commands.end(reason.message);
    const { code, message } = reason;
    this.#handlers.changed({ state: "closed", reason: { code, message } });
  }

  #change(change: StateChange): void {
    this.state = change.state;
    this.#handlers.changed(change);
  }

  #welcomed(welcome: Welcome, token: string | undefined): void {
    const connection = this.#connection!;
    const resume = this.#resume;
    if (token === undefined && resume === undefined && !welcome.authenticate) {
      this.#resume = welcome.resume;
      return this.#connected(
        welcome,
        { session: welcome.session, resumed: false, user: null },
        NOTHING_RESTORED,
      );
    }
    const positions = resume === undefined ? {} : this.#positions(connection.frameBytes / 2);
    const told = new Set(Object.keys(positions));
    const command = {
      action: "connect",
      ...(token === undefined ? {} : { token }),
      ...(resume === undefined ? {} : { resume }),
      ...(told.size === 0 ? {} : { positions }),
    } as const;
    this.#commands.start(
      "connect",
      command,
      this.#options.connectTimeoutMs,
      (error, reply) => {
        if (this.#connection !== connection) return;
        if (reply === undefined) return this.#refused(connection, error!);
        this.#resume = stringOf(reply["resume"]) ?? welcome.resume;
        this.#tokens.keepFresh(reply["expiresInMs"]);
        const channels = namesOf(reply["channels"]);
        const recovering = new Set(namesOf(reply["recovering"]));
        const user = stringOf(reply["user"]) ?? null;
        const session = stringOf(reply["session"]) ?? welcome.session;
        const resumed = reply["resumed"] === true;
        this.#connected(welcome, { session, resumed, user }, { channels, recovering, told, user });
      },
      connection,
    );
  }

  /** As many positions as fit: the other channels are subscribed again, each with its own. */
  #positions(bytesMax: number): Record<string, Position> {
    const fitting: (readonly [string, Position])[] = [];
    let bytes = 0;
    for (const [channel, position] of this.#subscriptions.positions()) {
      bytes += channel.length + position.epoch.length + POSITION_BYTES;
      if (bytes > bytesMax) break;
      fitting.push([channel, position]);
    }
    return Object.fromEntries(fitting);
  }

  #refused(connection: Connection, error: StarlingError): void {
    const mayFetchAnother = error.code === "token_expired" && this.#tokens.renewable;
    if (error.temporary || mayFetchAnother) return connection.abandon(error.message, error.retryAfterMs);
    this.close(error);
  }

  #connected(
    welcome: Welcome,
    session: Pick<ConnectionInfo, "session" | "resumed" | "user">,
    restored: Restored,
  ): void {
    const connection = this.#connection!;
    this.#connectedAt = this.#options.clock.now();
    this.#failures.connected();
    connection.settled();
    this.info = { node: welcome.node, connection: welcome.connection, ...session };
    this.state = "connected";
    // Subscriptions first, then what was queued: so one hears one's own queued messages.
    this.#commands.open(connection);
    this.#subscriptions.online(restored);
    // Who heard that may have closed the client, or have had it connect anew.
    if (this.#connection !== connection) return;
    this.#commands.flush(connection);
    this.#handlers.changed({ state: "connected", ...this.info });
  }

  #probe(): void {
    // What it answers does not matter: the watch hears any frame, or none.
    const settle = () => undefined;
    this.#commands.start("ping", { action: "ping" }, this.#options.timeoutMs, settle, this.#connection);
  }

  /** Everything that belongs to one connection stops with it. */
  #lost(): void {
    this.#connection = undefined;
    this.info = undefined;
    this.#tokens.stop();
    this.#subscriptions.offline();
  }

  #ended(end: ConnectionEnd, url: string): void {
    this.#lost();
    const [reason, report]: [Reason, (() => void)?] = end.unreached
      ? this.#failures.failed({ url, ...end })
      : [{ code: end.code, message: end.reason }];
    const final = !end.reconnect || (end.code === TOKEN_EXPIRED_CLOSE && !this.#tokens.renewable);
    if (final) return this.close(reason);
    // Another connection has the session now: a duplicated tab, which has a copy of the token. Asking
    // for it again would only take it back and forth.
    if (end.code === SUPERSEDED_CLOSE) this.#resume = undefined;
    this.#commands.broken(`the connection ended (${end.code} ${end.reason})`);
    this.#urlIndex++;
    this.#wait(reason, end.retryAfterMs);
    // Last: who hears it may close the client, or have it connect.
    report?.();
  }

  #wait(reason: Reason, hintMs?: number): void {
    const { clock, stableMs } = this.#options;
    if (this.#connectedAt !== undefined && clock.now() - this.#connectedAt >= stableMs) this.#backoff.reset();
    this.#connectedAt = undefined;
    const retryInMs = this.#backoff.next(hintMs);
    this.#notBefore = clock.now() + Math.min(hintMs ?? 0, retryInMs);
    this.#retryAfter(retryInMs);
    const { code, message } = reason;
    const attempt = this.#backoff.attempts;
    this.#change({ state: "waiting", attempt, retryInMs, reason: { code, message } });
  }
}

function namesOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
