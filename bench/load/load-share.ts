/** One load process's connections and streams. */

import { protocolByName } from "../protocols/index.js";
import type { Protocol } from "../protocols/protocol.js";
import { groupBy } from "../runner/group.js";
import { LatencyRecorder } from "./histogram.js";
import { Ledger } from "./ledger.js";
import { nowUs, readSequence, readStream, readTimeUs } from "./marker.js";
import type {
  JoinedReport,
  Joins,
  LoadCounters,
  LoadPlan,
  OpenedReport,
  SettledReport,
  StoppedReport,
  Traffic,
} from "./messages.js";
import { clientFrame, OPCODE } from "./framing.js";
import { Publisher, createStream, type Stream } from "./publisher.js";
import { channelName, shareOf, streamCount, type Share, type SubscriberSpec } from "./share.js";
import { LoadSocket, type SocketEvents, type Subscription } from "./socket.js";

const ERRORS_MAX = 5;
const OPEN_TICK_MS = 5;
/** Without any progress for so long, what is not open will not be. */
const OPEN_STALL_MS = 10_000;
const SETTLE_POLL_MS = 50;
/** As fast as possible, so many connections record latency: the distribution is the same, the generator cheaper. */
const SAMPLED_CONNECTIONS = 200;
const STORM_RETRY_MS = 100;
/** Of one process, unanswered at a time. */
const JOINING_MAX = 256;

export class LoadShare {
  readonly #plan: LoadPlan;
  readonly #processes: number;
  readonly #protocol: Protocol;
  readonly #share: Share;
  readonly #urls = new Map<string, URL>();
  readonly #latency = new LatencyRecorder();
  readonly #ledger: Ledger;
  readonly #slotsEach: number;
  readonly #streamCount: number;
  readonly #subscribers: LoadSocket[] = [];
  readonly #publishers: LoadSocket[] = [];
  /** By stream id, as the witness needs it. */
  readonly #streams = new Map<number, Stream>();
  #publisher: Publisher | undefined;
  #live = 0;
  /** Neither live nor refused yet. */
  #pending = 0;
  #failed = 0;
  #closed = 0;
  #closing = false;
  #deliveries = 0;
  #replies = 0;
  #misdelivered = 0;
  #sentAtMark = 0;
  #behindAtMark = 0;
  #markUs = nowUs();
  #cpuAtMark = process.cpuUsage();
  readonly #errors = new Map<string, number>();
  /** Answers to subscriptions of live subscribers, and how many of them were refusals. */
  #joinsAnswered = 0;
  #joinsRefused = 0;
  /** Of a storm: when each came back. */
  #liveAtMs: number[] | undefined;
  #stormUs = 0;
  readonly #refused: LoadSocket[] = [];

  constructor(plan: LoadPlan, index: number, processes: number) {
    this.#plan = plan;
    this.#processes = processes;
    this.#protocol = protocolByName(plan.protocol, plan);
    this.#share = shareOf(plan, index, processes);
    this.#slotsEach = Math.max(1, this.#share.streamsPerChannel);
    this.#streamCount = streamCount(plan);
    this.#ledger = new Ledger(this.#share.subscribers.length * this.#slotsEach);
  }

  async open(): Promise<OpenedReport> {
    const begin = nowUs();
    const cpu = process.cpuUsage();
    await this.#openAll(
      this.#share.subscribers.length,
      (index) => void this.#subscribers.push(this.#subscriber(this.#share.subscribers[index]!, index)),
    );
    const seconds = (nowUs() - begin) / 1e6;
    const cpuSeconds = cpuSecondsSince(cpu);
    const live = this.#live;
    await this.#openPublishers();
    return {
      connections: live,
      failed: this.#failed,
      seconds,
      cpuSeconds,
      liveAtMs: [],
      errors: this.#errorList(),
    };
  }

  start(traffic: Traffic): void {
    const total = this.#streamCount;
    const requests =
      this.#protocol.presence === undefined
        ? []
        : this.#publishers.map((_, index) => this.#frame(this.#protocol.presence!(this.#channelOf(index))));
    this.#publisher?.start(traffic, total === 0 ? 0 : this.#streams.size / total, requests);
    this.mark();
  }

  mark(): void {
    this.#deliveries = 0;
    this.#replies = 0;
    this.#sentAtMark = this.#publisher?.sent ?? 0;
    this.#behindAtMark = this.#publisher?.behind ?? 0;
    this.#latency.reset();
    this.#markUs = nowUs();
    this.#cpuAtMark = process.cpuUsage();
  }

  stop(): StoppedReport {
    this.#publisher?.stop();
    return {
      seconds: (nowUs() - this.#markUs) / 1e6,
      cpuSeconds: cpuSecondsSince(this.#cpuAtMark),
      ...this.counters(),
      behind: (this.#publisher?.behind ?? 0) - this.#behindAtMark,
      sentByStream: [...this.#streams.values()].map(({ id, sent }) => [id, sent] as const),
    };
  }

  counters(): LoadCounters {
    return {
      live: this.#live,
      sent: (this.#publisher?.sent ?? 0) - this.#sentAtMark,
      deliveries: this.#deliveries,
      replies: this.#replies,
    };
  }

  /** Waits, but no longer than `mostMs`, until what was sent is here or nothing has come for `quietMs`. */
  async settle(sent: ReadonlyMap<number, number>, quietMs: number, mostMs: number): Promise<SettledReport> {
    const begin = nowUs();
    let lastUs = begin;
    let seen = this.#deliveries;
    let missing = this.#missing(sent);
    let coming = true;
    while (missing > 0 && coming) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_POLL_MS));
      const now = nowUs();
      if (this.#deliveries !== seen) lastUs = now;
      seen = this.#deliveries;
      missing = this.#missing(sent);
      coming = now - lastUs <= quietMs * 1000;
      if (now - begin > mostMs * 1000) break;
    }
    return {
      lost: coming ? 0 : missing,
      late: coming ? missing : 0,
      duplicated: this.#ledger.duplicated,
      reordered: this.#ledger.reordered,
      misdelivered: this.#misdelivered,
      closed: this.#closed,
      errors: this.#errorList(),
      latency: this.#latency.encode(),
    };
  }

  async storm(deadlineMs: number): Promise<OpenedReport> {
    const cpu = process.cpuUsage();
    const specs = this.#share.subscribers;
    const before = this.#live;
    this.#closing = true;
    for (const socket of this.#subscribers) socket.cut();
    while (this.#subscribers.some(({ state }) => state !== "closed")) await turn();
    this.#closing = false;
    this.#subscribers.length = 0;
    this.#failed = 0;
    this.#liveAtMs = [];
    this.#stormUs = nowUs();
    const again = specs.map((_, index) => index);
    let retryUs = this.#stormUs;
    while (this.#live < before && nowUs() - this.#stormUs < deadlineMs * 1000) {
      while (again.length > 0 && this.#pending < this.#plan.connecting) {
        const index = again.pop()!;
        this.#subscribers[index] = this.#subscriber(specs[index]!, index);
      }
      if (nowUs() - retryUs > STORM_RETRY_MS * 1000) {
        retryUs = nowUs();
        for (const { slot } of this.#refused.splice(0)) again.push(slot / this.#slotsEach);
      }
      await turn();
    }
    const liveAtMs = this.#liveAtMs;
    this.#liveAtMs = undefined;
    return {
      connections: liveAtMs.length,
      failed: specs.length - liveAtMs.length,
      seconds: (nowUs() - this.#stormUs) / 1e6,
      cpuSeconds: cpuSecondsSince(cpu),
      liveAtMs,
      errors: this.#errorList(),
    };
  }

  /** All subscribers in turn, as no channel's members come one right behind the other. */
  async join({ first, count }: Joins): Promise<JoinedReport> {
    const begin = nowUs();
    const members = inTurns(this.#subscribers);
    const total = members.length * count;
    this.#joinsAnswered = 0;
    this.#joinsRefused = 0;
    let asked = 0;
    let answered = 0;
    let progressUs = begin;
    while (answered < total && nowUs() - progressUs < OPEN_STALL_MS * 1000) {
      for (; asked < total && asked - this.#joinsAnswered < JOINING_MAX; asked++) {
        const socket = members[asked % members.length]!;
        const number = first + Math.floor(asked / members.length);
        socket.subscribe(
          this.#subscription(`${channelName(this.#plan, socket.channel)}-${number}`, socket.url),
        );
      }
      await turn();
      if (this.#joinsAnswered !== answered) progressUs = nowUs();
      answered = this.#joinsAnswered;
    }
    const joined = answered - this.#joinsRefused;
    return { joined, refused: total - joined, seconds: (nowUs() - begin) / 1e6, errors: this.#errorList() };
  }

  close(): void {
    this.#closing = true;
    this.#publisher?.stop();
    for (const socket of [...this.#subscribers, ...this.#publishers]) socket.cut();
  }

  readonly #subscriberEvents: SocketEvents = {
    onLive: () => {
      this.#live++;
      this.#pending--;
      this.#liveAtMs?.push((nowUs() - this.#stormUs) / 1000);
    },
    onDelivery: (socket, buffer, markerAt, receivedUs) => {
      const stream = readStream(buffer, markerAt);
      const { channels } = this.#plan;
      const sequence = readSequence(buffer, markerAt);
      this.#deliveries++;
      // The second: of another generator on the same server.
      if (stream % channels !== socket.channel || stream >= this.#streamCount) {
        this.#misdelivered++;
        return;
      }
      this.#ledger.accept(socket.slot + Math.floor(stream / channels), sequence);
      if (socket.sampled) this.#latency.record(receivedUs - readTimeUs(buffer, markerAt));
      if (socket.witness) this.#publisher?.delivered(this.#streams.get(stream)!, sequence);
    },
    onReply: () => void this.#joinsAnswered++,
    onError: (_, reason) => {
      this.#joinsAnswered++;
      this.#joinsRefused++;
      this.#note(reason);
    },
    onClose: (socket, reason) => this.#onClose(socket, reason),
  };

  readonly #publisherEvents: SocketEvents = {
    onLive: () => {
      this.#live++;
      this.#pending--;
    },
    onDelivery: (socket, buffer, markerAt) => {
      // Who has to subscribe in order to publish hears the other publishers of its channels, which is not counted.
      const own = this.#streams.get(readStream(buffer, markerAt))?.publisher === socket.channel;
      if (own || this.#protocol.publishersSubscribe !== true) this.#misdelivered++;
    },
    onReply: (socket) => {
      this.#replies++;
      this.#publisher?.replied(socket.channel, nowUs());
    },
    onError: (socket, reason) => {
      this.#note(reason);
      this.#publisher?.replied(socket.channel, nowUs());
    },
    onClose: (socket, reason) => this.#onClose(socket, reason),
  };

  #onClose(socket: LoadSocket, reason: string): void {
    if (socket.wasLive) this.#live--;
    else this.#pending--;
    if (this.#closing) return;
    if (socket.wasLive) this.#closed++;
    else this.#failed++;
    this.#note(reason);
    // In a storm, who was refused tries again, as clients do.
    if (this.#liveAtMs !== undefined && socket.slot >= 0) this.#refused.push(socket);
  }

  #subscriber(spec: SubscriberSpec, index: number): LoadSocket {
    const channels = this.#plan.joinsLater === true ? [] : [spec.channel];
    const socket = this.#connect(spec.url, index, this.#subscriberEvents, channels);
    socket.channel = spec.channel;
    socket.slot = spec.slot;
    socket.witness = spec.witness;
    // Odd, so that with several subscribers per channel it does not pick the same place in each.
    const every = Math.ceil(this.#share.subscribers.length / SAMPLED_CONNECTIONS) | 1;
    socket.sampled = index % every === 0;
    return socket;
  }

  async #openPublishers(): Promise<void> {
    const { publisherUrls, streams } = this.#share;
    const channels = publisherUrls.map(() => new Set<number>());
    if (this.#protocol.publishersSubscribe === true) {
      for (const { channel, publisher } of streams) channels[publisher]!.add(channel);
    }
    await this.#openAll(publisherUrls.length, (index) => {
      const socket = this.#connect(publisherUrls[index]!, index, this.#publisherEvents, [
        ...channels[index]!,
      ]);
      // Its own index, by which its replies are counted.
      socket.channel = index;
      this.#publishers.push(socket);
    });
    for (const { stream, channel, publisher } of streams) {
      const name = channelName(this.#plan, channel);
      const { payloadBytes, acknowledged } = this.#plan;
      this.#streams.set(
        stream,
        createStream(this.#protocol, name, stream, publisher, payloadBytes, acknowledged),
      );
    }
    this.#publisher = new Publisher(this.#publishers, [...this.#streams.values()], (us) =>
      this.#latency.record(us),
    );
  }

  #connect(url: string, index: number, events: SocketEvents, channels: readonly number[]): LoadSocket {
    let parsed = this.#urls.get(url);
    if (parsed === undefined) this.#urls.set(url, (parsed = new URL(url)));
    const { sources, token, headers } = this.#plan;
    this.#pending++;
    return new LoadSocket(
      {
        url: parsed,
        protocol: this.#protocol,
        headers,
        ...(token !== undefined && { token }),
        subscriptions: channels.map((channel) =>
          this.#subscription(channelName(this.#plan, channel), parsed),
        ),
        ...(sources > 1 && { localAddress: `127.0.0.${1 + (index % sources)}` }),
      },
      events,
    );
  }

  #subscription(name: string, url: URL): Subscription {
    const protocol = this.#protocol;
    if (protocol.subscribeGreeted === undefined) return protocol.subscribe(name);
    return (greeting) => protocol.subscribeGreeted!(name, greeting, url);
  }

  /** Opens `count` at the plan's rate, and waits for each to be live or refused. */
  async #openAll(count: number, openOne: (index: number) => void): Promise<void> {
    const { connectRate, connecting } = this.#plan;
    const begin = nowUs();
    let opened = 0;
    let progressUs = begin;
    let pending = 0;
    for (;;) {
      const allowed =
        connectRate === 0
          ? count
          : Math.floor(((nowUs() - begin) / 1e6) * (connectRate / this.#processes)) + 1;
      while (opened < Math.min(count, allowed) && this.#pending < connecting) {
        openOne(opened++);
        progressUs = nowUs();
      }
      if (opened === count && this.#pending === 0) return;
      if (connectRate === 0) await turn();
      else await new Promise((resolve) => setTimeout(resolve, OPEN_TICK_MS));
      if (this.#pending !== pending) progressUs = nowUs();
      pending = this.#pending;
      if (nowUs() - progressUs > OPEN_STALL_MS * 1000) {
        this.#failed += pending;
        this.#note(`${pending} connections neither live nor refused within ${OPEN_STALL_MS} ms`);
        return;
      }
    }
  }

  #missing(sent: ReadonlyMap<number, number>): number {
    let missing = 0;
    for (const { channel, slot } of this.#share.subscribers) {
      for (let k = 0; k < this.#share.streamsPerChannel; k++) {
        const count = sent.get(channel + k * this.#plan.channels);
        if (count !== undefined) missing += this.#ledger.missing(slot + k, count);
      }
    }
    return missing;
  }

  #channelOf(publisher: number): string {
    const stream = this.#share.streams.find((candidate) => candidate.publisher === publisher);
    return channelName(this.#plan, stream?.channel ?? 0);
  }

  #frame(payload: Buffer): Buffer {
    return clientFrame(this.#protocol.binary ? OPCODE.binary : OPCODE.text, payload);
  }

  #note(reason: string): void {
    if (this.#errors.size < ERRORS_MAX || this.#errors.has(reason)) {
      this.#errors.set(reason, (this.#errors.get(reason) ?? 0) + 1);
    }
  }

  #errorList(): string[] {
    return [...this.#errors].map(([reason, count]) => (count === 1 ? reason : `${reason} (${count} times)`));
  }
}

/** The first member of each channel, then the second of each, and so on. */
function inTurns(sockets: readonly LoadSocket[]): LoadSocket[] {
  const byChannel = groupBy(sockets, ({ channel }) => channel);
  const turns: LoadSocket[][] = [];
  for (const members of byChannel.values()) {
    for (const [index, member] of members.entries()) (turns[index] ??= []).push(member);
  }
  return turns.flat();
}

function cpuSecondsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

async function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
