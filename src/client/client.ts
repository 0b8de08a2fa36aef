import { Backoff } from "./backoff.js";
import { checkChannel, checkFunction, checkNames } from "./arguments.js";
import type { Action } from "../protocols/starling/messages.js";
import { PendingCommands } from "./pending-commands.js";
import { Session } from "./session.js";
import { bindMembers } from "./bound.js";
import { contentOf } from "./content.js";
import { disposable, type Disposer } from "./disposable.js";
import { Emitter } from "./emitter.js";
import { StarlingError, messageOf } from "./error.js";
import { errorOf, type Frame, type OutgoingCommand } from "./frames.js";
import { randomId } from "./message-id.js";
import { resolveOptions, type ResolvedOptions } from "./options.js";
import { positionOf } from "./position.js";
import { changeOf, historyOf, presenceOf, statsOf } from "./replies.js";
import { Subscriptions, removalOf } from "./subscriptions.js";
import type {
  Channel,
  ClientEvents,
  ConnectionInfo,
  ConnectOptions,
  Handler,
  HistoryOptions,
  HistoryPage,
  Message,
  Presence,
  PresenceOptions,
  PresenceStats,
  Published,
  PublishOptions,
  State,
  SubscribeOptions,
  Subscription,
  Urls,
} from "./types.js";

const EVENTS: Readonly<Record<keyof ClientEvents, true>> = {
  ...{ state: true, error: true, unsubscribed: true, gap: true, message: true },
};
const LISTENERS: Readonly<Record<Exclude<keyof SubscribeOptions, "since">, true>> = {
  ...{ onSubscribed: true, onUnsubscribed: true, onGap: true, onPresence: true },
  ...{ onJoin: true, onLeave: true, onUpdate: true },
};

/** `using client = connect(...)` closes it at the end of its block. */
// The constructor adds what Disposer has.
// eslint-disable-next-line @typescript-eslint/no-empty-object-type, @typescript-eslint/no-unused-vars
export interface Client<Channels extends object> extends Disposer {}

/**
 * What connect() gives. `Channels` maps channel names, or templates of them, to what they carry. Its methods may be
 * taken off it, and called on a proxy of it, as Vue's `reactive` makes.
 */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Client<Channels extends object = Record<string, unknown>> {
  readonly #options: ResolvedOptions;
  readonly #events = new Emitter<ClientEvents>();
  readonly #commands: PendingCommands;
  readonly #subscriptions: Subscriptions;
  readonly #session: Session;

  /** @throws StarlingError bad_request, for a bad URL or option or a missing WebSocket */
  constructor(urls: Urls, options: ConnectOptions = {}) {
    const resolved = resolveOptions(urls, options);
    const { clock, timeoutMs } = resolved;
    this.#options = resolved;
    this.#commands = new PendingCommands(resolved);
    this.#subscriptions = new Subscriptions({
      clock,
      newBackoff: () => new Backoff(resolved),
      timeoutMs,
      command: (action, channel, since, settle) => {
        const command = { action, channel, ...(since && { since }) };
        this.#commands.start(`${action} "${channel}"`, command, timeoutMs, settle);
      },
      gap: (gap) => this.#events.emit("gap", gap),
      guard: (name, run) => this.#events.guard(name, run),
      removed: (removal) => {
        this.#events.emit("unsubscribed", removal);
        return this.#events.has("unsubscribed");
      },
      report: (error) => this.#events.report(error),
      mention: (error) => {
        if (this.#events.has("error")) this.#events.report(error);
      },
    });
    this.#session = new Session(resolved, this.#commands, this.#subscriptions, {
      changed: (change) => {
        resolved.debug?.(change.state, change);
        this.#events.emit("state", change);
      },
      push: (frame) => this.#pushed(frame),
      report: (error) => this.#events.report(error),
    });
    bindMembers(this, Client.prototype);
    disposable(this, () => this.close());
    void this.#session.open();
  }

  get state(): State {
    return this.#session.state;
  }

  /** The open connection: undefined unless the state is connected. */
  get connection(): ConnectionInfo | undefined {
    return this.#session.info;
  }

  /** @returns what takes the listener off again */
  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (payload: ClientEvents[Name]) => void,
  ): () => void {
    if (EVENTS[name] !== true) {
      const known = Object.keys(EVENTS).join(", ");
      throw new StarlingError("bad_request", `on: unknown event ${JSON.stringify(name)}; events: ${known}`);
    }
    checkFunction(`on("${name}")`, "the listener", listener);
    return this.#events.on(name, listener);
  }

  /**
   * Holds for as long as the client does: it is made again after every reconnect.
   * Several handlers of one channel share one subscription at the server. Names
   * that start with # are the server's own, such as `#user:42`: the handler hears
   * what the server sends there, nothing is asked.
   * @throws StarlingError closed, after close(); bad_request, for a wrong argument; refusals of the server reject `ready`
   */
  subscribe<Name extends keyof Channels & string>(
    channel: Name,
    handler: Handler<Channels[Name], Name>,
    options: SubscribeOptions = {},
  ): Subscription {
    checkChannel("subscribe", channel);
    const call = `subscribe to "${channel}"`;
    checkFunction(call, "the handler", handler);
    checkNames(call, options, ["since", ...Object.keys(LISTENERS)]);
    for (const name of Object.keys(LISTENERS) as (keyof typeof LISTENERS)[]) {
      if (options[name] !== undefined) checkFunction(call, name, options[name]);
    }
    if (this.state === "closed") throw closedError(call);
    // The map of types is the application's word; the channel is what ties a handler to its content.
    return this.#subscriptions.add(channel, handler as unknown as Handler<never>, options);
  }

  /**
   * Resolves once the server has taken the message. Offline it waits in the queue,
   * if there is room. Never sent twice; who repeats it gives the error's `messageId`.
   * @param content what JSON can say, or bytes: an ArrayBuffer or any view of one, which arrives as a Uint8Array.
   *   What would arrive as something else (a Map, NaN, bytes inside an object ...) is a bad_request
   * @throws StarlingError unavailable: it was not sent. outcome_unknown: the connection
   *   broke before the answer came. timeout: see `sent`. Others: the server's.
   */
  async publish<Name extends keyof Channels & string>(
    channel: Name,
    content: Channels[Name],
    options: PublishOptions = {},
  ): Promise<Published> {
    checkChannel("publish", channel);
    const name = `publish to "${channel}"`;
    checkNames(name, options, ["event", "tags", "echo", "messageId", "timeoutMs"]);
    const { timeoutMs = this.#options.timeoutMs, messageId = randomId(), event, tags, echo } = options;
    const fields = given({ event, tags, echo });
    try {
      const command = {
        action: "send",
        channel,
        content: checked(name, content),
        messageId,
        ...fields,
      } as const;
      return { ...positionOf(await this.#request(name, command, timeoutMs)) };
    } catch (error) {
      (error as StarlingError).messageId = messageId;
      throw error;
    }
  }

  /**
   * Reads what a channel keeps, oldest first.
   * @throws StarlingError not_enabled: it keeps no history. Others: the server's.
   */
  async history<Name extends keyof Channels & string>(
    channel: Name,
    { since, limit, reverse }: HistoryOptions = {},
  ): Promise<HistoryPage<Channels[Name]>> {
    const page = historyOf(channel, await this.#ask("history", channel, { since, limit, reverse }));
    return page as HistoryPage<Channels[Name]>;
  }

  /**
   * Who is in a channel, over all nodes.
   * @throws StarlingError not_enabled: the channel does not tell. Others: the server's.
   */
  async presence(channel: keyof Channels & string, { limit }: PresenceOptions = {}): Promise<Presence> {
    return presenceOf(channel, await this.#ask("presence", channel, { limit }));
  }

  /** Like presence, without the members. */
  async presenceStats(channel: keyof Channels & string): Promise<PresenceStats> {
    return statsOf(channel, await this.#ask("presence_stats", channel));
  }

  /** One channel, with its type: from the client's map, or given here. */
  channel<Name extends keyof Channels & string>(name: Name): Channel<Channels[Name]>;
  channel<Content>(name: string): Channel<Content>;
  channel(name: string): Channel<never> {
    const client = this as unknown as Client<Record<string, never>>;
    return {
      name,
      subscribe: (handler, options) => client.subscribe(name, handler, options),
      publish: (content, options) => client.publish(name, content, options),
      history: (options) => client.history(name, options),
      presence: (options) => client.presence(name, options),
      presenceStats: () => client.presenceStats(name),
    };
  }

  /**
   * @returns milliseconds to the node and back
   * @throws StarlingError unavailable without a connection, timeout
   */
  async ping(timeoutMs = this.#options.timeoutMs): Promise<number> {
    if (this.state !== "connected" && this.state !== "closed") {
      throw new StarlingError("unavailable", `ping: there is no connection (${this.state})`);
    }
    const startedAt = this.#options.clock.now();
    await this.#request("ping", { action: "ping" }, timeoutMs);
    return this.#options.clock.now() - startedAt;
  }

  /**
   * Comes back now, by a new connection, whatever it waits for: for a platform that tells no news of the network, as
   * React Native, or after a login. The session is resumed; what waits for an answer is rejected with outcome_unknown.
   * @throws StarlingError closed
   */
  reconnect(): void {
    if (this.state === "closed") throw closedError("reconnect");
    this.#session.reconnect("reconnect() was called");
  }

  /** For good: the session ends, and what still waits for an answer is rejected. */
  close(): void {
    this.#session.close({ code: 1000, message: "the client was closed" });
  }

  async #ask(action: Action, channel: string, fields: object = {}): Promise<Frame> {
    checkChannel(action, channel);
    const { timeoutMs } = this.#options;
    return this.#request(`${action} of "${channel}"`, { action, channel, ...given(fields) }, timeoutMs);
  }

  #request(name: string, command: Omit<OutgoingCommand, "id">, timeoutMs: number): Promise<Frame> {
    if (this.state === "closed") return Promise.reject(closedError(name));
    return new Promise((resolve, reject) => {
      this.#commands.start(name, command, timeoutMs, (error, reply) => {
        if (reply === undefined) reject(error!);
        else resolve(reply);
      });
    });
  }

  #pushed(frame: Frame): void {
    const channel = String(frame["channel"]);
    const subscriptions = this.#subscriptions;
    switch (frame.type) {
      case "message": {
        if (!subscriptions.accept(channel, frame)) break;
        const message = frame as unknown as Message<never>;
        this.#events.emit("message", message);
        subscriptions.deliver(channel, message);
        break;
      }
      case "subscribed":
        return subscriptions.recovered(channel, frame);
      case "gap":
        return subscriptions.gap(channel, frame);
      case "unsubscribed":
        return subscriptions.taken(channel, removalOf(frame));
      case "join":
        return subscriptions.tell(channel, "onJoin", changeOf(channel, frame));
      case "leave":
        return subscriptions.tell(channel, "onLeave", changeOf(channel, frame));
      case "update":
        return subscriptions.tell(channel, "onUpdate", changeOf(channel, frame));
      case "presence":
        return subscriptions.tell(channel, "onPresence", presenceOf(channel, frame));
      case "error":
        if (frame["id"] === undefined) this.#events.report(errorOf(frame));
      // Answers that come after their deadline were reported then; types of later protocols are let be.
    }
  }
}

/** Without the fields that are undefined: a codec may write them. */
function given(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** @throws StarlingError bad_request */
function checked(name: string, content: unknown): unknown {
  try {
    return contentOf(content);
  } catch (cause) {
    throw new StarlingError("bad_request", `${name}: ${messageOf(cause)}`, { cause });
  }
}

function closedError(name: string): StarlingError {
  return new StarlingError("closed", `${name}: the client is closed`);
}

/**
 * Connects, and stays connected: with backoff, authentication and resumption.
 *
 *     const client = connect("wss://example.org/");
 *     client.subscribe("room", ({ content }) => console.log(content));
 *     await client.publish("room", "hi");
 *
 * @throws StarlingError bad_request, for a bad URL or option or a missing WebSocket
 */
export function connect<Channels extends object = Record<string, unknown>>(
  urls: Urls,
  options: ConnectOptions = {},
): Client<Channels> {
  return new Client<Channels>(urls, options);
}
