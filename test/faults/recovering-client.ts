/**
 * A client of the native protocol that comes back from its position, written from PROTOCOL.md with
 * nothing of the SDK, and records what it saw for the checker.
 */

import type { Socket as TcpSocket } from "node:net";
import { WebSocket } from "ws";
import type { Position, PublicationRecord } from "./checker.js";
import {
  idOf,
  infosOf,
  MAYBE_PUBLISHED,
  PUBLISH_ATTEMPTS_MAX,
  REPEAT_WITHIN_MS,
  type RecordingClient,
  type RecordingClientOptions,
} from "./recording-client.js";
import type { PassingPublication, PassingSight } from "./passing-checker.js";
import type { RosterRecord } from "./roster-checker.js";

interface Frame {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface Member {
  readonly connection: string;
  readonly user?: string;
  readonly info?: unknown;
}

type Answer = (frame: Frame | undefined) => void;

interface Unsettled {
  readonly id: string;
  readonly channel: string;
  readonly filler: string | undefined;
  readonly sentAtMs: number;
  readonly session: string;
  attempts: number;
  settle(record: PublicationRecord): void;
}

const RECONNECT_MS = [50, 1_000] as const;
const RETRY_MS = [100, 500] as const;
const HANDSHAKE_MS = 5_000;
const MEMBERS_MAX = 1_000;
const SUPERSEDED = 4006;
/** A command without an answer for so long ends the connection: its node hangs. */
const ANSWER_MS = 20_000;

export class RecoveringClient implements RecordingClient {
  readonly #options: RecordingClientOptions;
  /** Channels without history. */
  readonly #passing: ReadonlySet<string>;
  #socket: WebSocket | undefined;
  #urlIndex: number;
  #connection: string | undefined;
  #session = "";
  #resume: string | undefined;
  #nextId = 1;
  readonly #answers = new Map<number, Answer>();
  /** Where it stands, by channel. */
  readonly #at = new Map<string, Position>();
  /** Channels that this connection's node holds. */
  readonly #held = new Set<string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #unsettled = new Map<string, Unsettled>();
  #ended = false;
  connects = 0;
  superseded = 0;

  constructor(options: RecordingClientOptions) {
    this.#options = options;
    this.#passing = new Set(options.passing);
    this.#urlIndex = options.random.below(options.urls.length);
    const { name, channels, identity } = options;
    options.record({ kind: "client", client: name, channels, user: identity?.user });
    this.#open();
  }

  get name(): string {
    return this.#options.name;
  }

  get channels(): readonly string[] {
    return this.#options.channels;
  }

  get ready(): boolean {
    const { channels } = this.#options;
    return this.#connection !== undefined && this.#held.size === channels.length + this.#passing.size;
  }

  get connected(): boolean {
    return this.#connection !== undefined && this.#session !== "";
  }

  get unsettled(): number {
    return this.#unsettled.size;
  }

  standsAt(channel: string): Position | undefined {
    return this.#at.get(channel);
  }

  publish(id: string, channel: string, filler?: string): Promise<PublicationRecord> {
    return new Promise((resolve) => {
      const unsettled: Unsettled = {
        id,
        channel,
        filler,
        sentAtMs: Date.now(),
        session: this.#session,
        attempts: 0,
        settle: (record) => {
          this.#unsettled.delete(id);
          resolve(record);
        },
      };
      this.#unsettled.set(id, unsettled);
      this.#send(unsettled);
    });
  }

  publishPassing(id: string, channel: string): Promise<PassingPublication["outcome"]> {
    return new Promise((resolve) => {
      this.#ask({ action: "send", channel, content: { id } }, (answer) => {
        if (answer?.type === "reply") return resolve("acked");
        const never = answer !== undefined && !MAYBE_PUBLISHED.has(String(answer["code"]));
        resolve(never ? "refused" : "maybe");
      });
    });
  }

  pause(ms: number): void {
    this.#tcp()?.pause();
    this.#later(ms, () => this.wake());
  }

  /** Reads again, before the pause is over. */
  wake(): void {
    this.#tcp()?.resume();
  }

  #tcp(): TcpSocket | undefined {
    return (this.#socket as unknown as { _socket?: TcpSocket } | undefined)?._socket;
  }

  drop(): void {
    this.#socket?.terminate();
  }

  end(): void {
    this.#options.record({
      kind: "end",
      client: this.name,
      connected: this.ready,
      connection: this.#connection,
      info: this.#options.identity?.info,
    });
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const unsettled of [...this.#unsettled.values()]) this.#settle(unsettled, "maybe");
    this.#socket?.terminate();
  }

  #open(): void {
    const { urls, identity } = this.#options;
    const query = identity === undefined ? "" : `/?token=${identity.token}`;
    const socket = new WebSocket(urls[this.#urlIndex++ % urls.length]! + query, ["starling.v1.json"], {
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#socket = socket;
    socket.on("message", (data: Buffer) => this.#received(JSON.parse(data.toString()) as Frame));
    socket.on("error", () => undefined); // "close" follows
    socket.on("close", (code) => this.#closed(code));
  }

  #closed(code: number): void {
    this.#connection = undefined;
    for (const channel of this.#held) this.#notHeld(channel);
    // A Redis that lost its newest writes may have given the session twice: recovery goes by positions.
    if (code === SUPERSEDED && !this.#ended) {
      this.superseded++;
      this.#resume = undefined;
    }
    for (const answer of [...this.#answers.values()]) answer(undefined);
    this.#answers.clear();
    if (!this.#ended) this.#later(this.#options.random.between(...RECONNECT_MS), () => this.#open());
  }

  #holds(channel: string): void {
    this.#held.add(channel);
    if (this.#passing.has(channel)) this.#sees({ kind: "passing-held" }, channel);
    else this.#askWhoIsThere(channel);
  }

  #notHeld(channel: string): void {
    this.#held.delete(channel);
    if (this.#passing.has(channel)) this.#sees({ kind: "passing-lost" }, channel);
    else this.#rosterIs(channel, "unknown");
  }

  #sees(
    what: { kind: "passing-held" | "passing-lost" | "passing-gap" } | { kind: "passing-message"; id: string },
    channel: string,
  ): void {
    const sight: PassingSight = { client: this.name, channel, atMs: Date.now(), ...what };
    this.#options.record(sight);
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }

  #ask(command: object, answer: Answer): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return answer(undefined);
    const id = this.#nextId++;
    const timer = setTimeout(() => socket.terminate(), ANSWER_MS);
    this.#timers.add(timer);
    this.#answers.set(id, (frame) => {
      clearTimeout(timer);
      this.#timers.delete(timer);
      this.#answers.delete(id);
      answer(frame);
    });
    socket.send(JSON.stringify({ ...command, id }));
  }

  #received(frame: Frame): void {
    if (this.#ended) return;
    const { record } = this.#options;
    const at = { client: this.name, channel: String(frame["channel"]), atMs: Date.now() };
    switch (frame.type) {
      case "welcome":
        return this.#welcomed(frame);
      case "reply":
      case "error":
        if (typeof frame["id"] === "number") this.#answers.get(frame["id"])?.(frame);
        return;
      case "message": {
        const { channel } = at;
        if (this.#passing.has(channel)) {
          return this.#sees({ kind: "passing-message", id: idOf(frame["content"]) }, channel);
        }
        const position = positionOf(frame);
        record({ kind: "message", ...at, id: idOf(frame["content"]), position });
        const stood = this.#at.get(channel);
        const behind = stood?.epoch === position?.epoch && (position?.offset ?? 0) <= (stood?.offset ?? 0);
        if (position !== undefined && !behind) this.#at.set(channel, position);
        return;
      }
      case "subscribed":
        return this.#positioned(at.channel, frame);
      case "gap": {
        if (this.#passing.has(at.channel)) return this.#sees({ kind: "passing-gap" }, at.channel);
        const position = positionOf(frame);
        const missed = countOf(frame["missed"]);
        record({ kind: "gap", ...at, recovered: frame["recovered"] === true, position, missed });
        if (position !== undefined) this.#stand(at.channel, position, missed);
        // Who was skipped is told who is there; else nothing says so that joins and leaves were missed.
        if (frame["recovered"] === true) this.#rosterIs(at.channel, "unknown");
        else this.#askWhoIsThere(at.channel);
        return;
      }
      case "join":
      case "leave":
      case "update":
        return this.#rosterIs(at.channel, frame.type, [frame as unknown as Member]);
      case "presence":
        return this.#rosterIs(at.channel, "snapshot", frame["members"] as Member[]);
      case "unsubscribed":
        this.#notHeld(at.channel);
        this.#later(this.#options.random.between(...RETRY_MS), () => this.#subscribe(at.channel));
        return;
      default:
        return;
    }
  }

  #welcomed(frame: Frame): void {
    this.connects++;
    const connection = String(frame["connection"]);
    const fresh = (): void => {
      this.#connection = connection;
      this.#session = String(frame["session"]);
      this.#resume = String(frame["resume"]);
      for (const channel of [...this.channels, ...this.#passing]) this.#subscribe(channel);
      this.#repeat();
    };
    const resume = this.#resume;
    if (resume === undefined) return fresh();
    const positions = Object.fromEntries(this.#at);
    this.#ask({ action: "connect", resume, positions }, (answer) => {
      if (answer === undefined) return;
      if (answer.type === "error") {
        if (answer["temporary"] !== true) this.#resume = undefined;
        return this.#socket?.terminate();
      }
      if (answer["resumed"] !== true) return fresh();
      const session = String(answer["session"]);
      this.#options.record({ kind: "claim", client: this.name, session, token: resume, atMs: Date.now() });
      this.#connection = connection;
      this.#session = session;
      this.#resume = String(answer["resume"]);
      const restored = new Set(listOf(answer["channels"]));
      const recovering = new Set(listOf(answer["recovering"]));
      for (const channel of [...this.channels, ...this.#passing]) {
        if (!restored.has(channel)) this.#subscribe(channel);
        else if (!recovering.has(channel)) this.#holds(channel);
      }
      this.#repeat();
    });
  }

  #subscribe(channel: string): void {
    const since = this.#at.get(channel);
    const socket = this.#socket;
    this.#ask({ action: "subscribe", channel, ...(since === undefined ? {} : { since }) }, (answer) => {
      if (answer === undefined) return;
      if (answer.type === "reply") return this.#positioned(channel, answer);
      this.#later(this.#options.random.between(...RETRY_MS), () => {
        if (this.#socket === socket) this.#subscribe(channel);
      });
    });
  }

  #positioned(channel: string, frame: Frame): void {
    if (this.#passing.has(channel)) return this.#holds(channel);
    const position = positionOf(frame);
    const missed = countOf(frame["missed"]);
    const recovered = typeof frame["recovered"] === "boolean" ? frame["recovered"] : undefined;
    this.#options.record({
      kind: "position",
      client: this.name,
      channel,
      atMs: Date.now(),
      position,
      missed,
      recovered,
    });
    if (position !== undefined) this.#stand(channel, position, missed);
    this.#holds(channel);
  }

  #askWhoIsThere(channel: string): void {
    if (this.#options.rosters !== true) return;
    const socket = this.#socket;
    this.#rosterIs(channel, "unknown");
    this.#ask({ action: "presence", channel, limit: MEMBERS_MAX }, (answer) => {
      if (answer === undefined) return;
      if (answer.type === "reply") {
        return this.#rosterIs(channel, "snapshot", answer["members"] as Member[]);
      }
      this.#later(this.#options.random.between(...RETRY_MS), () => {
        if (this.#socket === socket && this.#held.has(channel)) this.#askWhoIsThere(channel);
      });
    });
  }

  #rosterIs(channel: string, what: RosterRecord["what"], members: readonly Member[] = []): void {
    if (this.#options.rosters !== true || this.#ended) return;
    const persons = members.map(personOf);
    const infos = infosOf(members, this.#options.identity);
    this.#options.record({
      kind: "roster",
      client: this.name,
      channel,
      atMs: Date.now(),
      what,
      persons,
      ...infos,
    });
  }

  /** What was missed comes in frames of its own: until then it is not here. */
  #stand(channel: string, { offset, epoch }: Position, missed: number): void {
    this.#at.set(channel, { offset: offset - missed, epoch });
  }

  #send(unsettled: Unsettled): void {
    const { id, channel, filler } = unsettled;
    unsettled.attempts++;
    this.#ask({ action: "send", channel, content: { id, filler }, messageId: id }, (answer) => {
      if (answer === undefined) {
        // The connection is gone; repeated on the next one.
        if (this.#ended) this.#settle(unsettled, "maybe");
        return;
      }
      if (answer.type === "reply") return this.#settle(unsettled, "acked", positionOf(answer));
      const never = !MAYBE_PUBLISHED.has(String(answer["code"]));
      if (never && unsettled.attempts === 1) return this.#settle(unsettled, "refused");
      this.#later(this.#options.random.between(...RETRY_MS), () => this.#repeatOne(unsettled));
    });
  }

  #repeat(): void {
    for (const unsettled of [...this.#unsettled.values()]) this.#repeatOne(unsettled);
  }

  #repeatOne(unsettled: Unsettled): void {
    if (!this.#unsettled.has(unsettled.id) || this.#connection === undefined) return;
    const late = Date.now() - unsettled.sentAtMs > REPEAT_WITHIN_MS;
    // In another session the same id would be another message.
    const another = unsettled.session !== this.#session;
    if (late || another || unsettled.attempts >= PUBLISH_ATTEMPTS_MAX)
      return this.#settle(unsettled, "maybe");
    this.#send(unsettled);
  }

  #settle(unsettled: Unsettled, outcome: PublicationRecord["outcome"], position?: Position): void {
    const { id, channel, sentAtMs } = unsettled;
    unsettled.settle({
      kind: "publication",
      id,
      channel,
      sentAtMs,
      settledAtMs: Date.now(),
      outcome,
      position,
    });
  }
}

function personOf({ connection, user }: Member): string {
  return user === undefined ? `-${connection}` : `=${user}`;
}

function positionOf({ offset, epoch }: Frame): Position | undefined {
  return typeof offset === "number" && typeof epoch === "string" ? { offset, epoch } : undefined;
}

function countOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
