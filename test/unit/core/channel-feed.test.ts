import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BusPublication, HistoryPage } from "../../../src/core/broker.js";
import { ChannelFeed, type JoinOutcome, type Positioned } from "../../../src/core/channel-feed.js";
import type { Position } from "../../../src/core/publication.js";

/** Settles promises that are ready, timers excluded. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

function publicationAt(position: Position): Positioned {
  return {
    key: "main/room",
    payload: { bytes: Buffer.from(`"${position.epoch}-${position.offset}"`), encoding: 0 },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    position,
    publishedAtMs: 0,
  };
}

const text = ({ epoch, offset }: Position): string => `${epoch}-${offset}`;

/** A channel as the server has it, with a bus that may lose and reads that take their time. */
class World {
  epochs = 1;
  offset = 0;
  oldest = 1;
  readonly size: number;
  /** Publications that a page holds. */
  readonly pageSize: number;
  readonly acknowledged: string[] = [];
  /** Offsets of which nothing can be read. */
  readonly unreadable = new Set<number>();
  /** Messages on their way to the node, in order. */
  readonly bus: Positioned[] = [];
  /** Reads not yet executed, and answers on their way back. */
  readonly unread: (() => void)[] = [];
  readonly answers: (() => void)[] = [];
  readonly clients: ReaderClient[] = [];
  stale = 0;
  /** What a subscriber saw and must not have; kept, as it is seen inside of the feed's own calls. */
  readonly faults: string[] = [];
  readonly feed: ChannelFeed;

  constructor(size: number, pageSize = Infinity) {
    this.size = size;
    this.pageSize = pageSize;
    this.feed = new ChannelFeed({
      turn: () => undefined,
      read: (since) => this.#ask(() => this.page(since)),
      top: () => this.#ask(() => this.top),
      last: () => this.#ask(() => this.lastPage()),
      deliver: (publication) => {
        for (const client of this.clients) client.message(publication);
      },
      gap: (position) => {
        for (const client of this.clients) client.told(position);
      },
      stale: () => this.stale++,
      failed: (error) => {
        throw error;
      },
    });
  }

  get epoch(): string {
    return `e${this.epochs}`;
  }

  get top(): Position {
    return { offset: this.offset, epoch: this.epoch };
  }

  page(since: Position): HistoryPage {
    const publications: BusPublication[] = [];
    if (since.epoch === this.epoch) {
      for (let offset = Math.max(this.oldest, since.offset + 1); offset <= this.offset; offset++) {
        if (!this.unreadable.has(offset)) publications.push(publicationAt({ offset, epoch: this.epoch }));
      }
    }
    const more = publications.length > this.pageSize;
    return { publications: publications.slice(0, this.pageSize), top: this.top, more };
  }

  lastPage(): HistoryPage {
    const { publications } = this.page({ offset: this.offset - 1, epoch: this.epoch });
    return { publications, top: this.top };
  }

  #ask<Answer>(compute: () => Answer): Promise<Answer> {
    return new Promise((resolve) => {
      this.unread.push(() => {
        const answer = compute();
        this.answers.push(() => resolve(answer));
      });
    });
  }

  publish(): void {
    this.offset++;
    this.oldest = Math.max(this.oldest, this.offset - this.size + 1);
    this.acknowledged.push(text(this.top));
    this.bus.push(publicationAt(this.top));
  }

  loseData(): void {
    this.epochs++;
    this.offset = 0;
    this.oldest = 1;
  }

  async step(action: string, choice: number): Promise<void> {
    switch (action) {
      case "publish":
        return this.publish();
      case "deliver": {
        const next = this.bus.shift();
        if (next !== undefined) this.feed.live(next);
        return;
      }
      case "lose":
        this.bus.shift();
        return;
      case "execute":
        this.unread.shift()?.();
        return;
      case "answer":
        this.answers.shift()?.();
        return settle();
      case "subscribe":
        this.clients.push(new ReaderClient(this, this.#since(choice)));
        return settle();
      case "resume": {
        const gone = this.clients[choice % Math.max(1, this.clients.length)];
        gone?.reconnect();
        return settle();
      }
      case "trim":
        this.oldest = Math.min(this.offset + 1, this.oldest + (choice % 3));
        return;
      case "loseData":
        return this.loseData();
      case "check":
        void this.feed.observe(this.top);
        return;
    }
  }

  #since(choice: number): Position | "last" | undefined {
    if (choice % 4 === 0) return undefined;
    return choice % 4 === 1 ? "last" : this.#somePosition(choice);
  }

  #somePosition(choice: number): Position {
    return { offset: Math.max(0, this.offset - (choice % 5)), epoch: this.epoch };
  }

  /** Everything under way arrives and the periodic check runs, until nothing moves. */
  async quiesce(): Promise<void> {
    for (let i = 0; i < 200; i++) {
      while (this.bus.length > 0) await this.step("deliver", 0);
      while (this.unread.length > 0) await this.step("execute", 0);
      while (this.answers.length > 0) await this.step("answer", 0);
      await settle();
      if (this.bus.length + this.unread.length + this.answers.length > 0) continue;
      const at = this.feed.position;
      if (at === undefined || text(at) === text(this.top)) return;
      await this.step("check", 0);
    }
    throw new Error("the feed does not come to rest");
  }
}

/** A subscriber that keeps its position and checks what it is told. */
class ReaderClient {
  readonly #world: World;
  position: Position | undefined;
  joined = false;
  attempt = 0;
  toldLost = 0;
  /** Joins that asked for the last publication and did not get that of their position. */
  lastMissing = 0;
  /** What its joins were answered with. */
  readonly missed: Positioned[] = [];

  constructor(world: World, since: Position | "last" | undefined) {
    this.#world = world;
    this.position = since === "last" ? undefined : since;
    this.#join(since);
  }

  #join(since: Position | "last" | undefined): void {
    const attempt = ++this.attempt;
    void this.#world.feed.join(since, (outcome) => {
      if (attempt === this.attempt) this.#joined(since, outcome);
    });
  }

  #joined(since: Position | "last" | undefined, { recovered, position, missed, partial }: JoinOutcome): void {
    this.joined = true;
    this.missed.push(...missed);
    if (since === "last") {
      const last = missed.at(-1)?.position;
      if (missed.length > 1 || recovered !== undefined) this.#world.faults.push("more than the last");
      if (last !== undefined && (last.epoch !== position.epoch || last.offset > position.offset))
        this.#world.faults.push(`the last is ${text(last)} at ${text(position)}`);
      if (position.offset > 0 && last?.offset !== position.offset) this.lastMissing++;
      this.position = position;
    } else if (recovered === true) {
      for (const publication of missed) this.message(publication);
      if (text(this.position!) !== text(position)) {
        this.#world.faults.push(`recovered to ${text(this.position!)}, not ${text(position)}`);
      }
    } else {
      if (missed.length > 0) this.#world.faults.push("missed publications without recovery");
      if (since !== undefined) this.toldLost++;
      this.position = position;
    }
    if (partial !== true) return;
    if (missed.length === 0) this.#world.faults.push("a part with nothing in it");
    this.reconnect();
  }

  /** Away, and back with its position. */
  reconnect(): void {
    if (!this.joined) return;
    this.joined = false;
    this.#join(this.position);
  }

  told(position: Position): void {
    if (!this.joined) return;
    this.toldLost++;
    this.position = position;
  }

  message(publication: Positioned): void {
    if (!this.joined) return;
    const { offset, epoch } = publication.position;
    const at = this.position!;
    if (epoch !== at.epoch || offset !== at.offset + 1) {
      this.#world.faults.push(`${text(publication.position)} after ${text(at)}`);
    }
    const content = Buffer.from(publication.payload.bytes).toString();
    if (content !== `"${text(publication.position)}"`) this.#world.faults.push(`wrong content ${content}`);
    this.position = publication.position;
  }
}

const RUNS = 10_000;

function schedules(actions: Record<string, number>) {
  return fc.record({
    size: fc.integer({ min: 1, max: 20 }),
    pageSize: fc.integer({ min: 1, max: 20 }),
    steps: fc.array(
      fc.tuple(
        fc.oneof(
          ...Object.entries(actions).map(([action, weight]) => ({ arbitrary: fc.constant(action), weight })),
        ),
        fc.nat(100),
      ),
      { maxLength: 60, size: "max" },
    ),
  });
}

const ORDINARY = { publish: 6, deliver: 5, execute: 4, answer: 4, subscribe: 2, resume: 2, check: 1 };

describe("the feed of a channel with history", () => {
  it("shows every subscriber each publication once and in order, or tells it a gap, whatever the schedule", async () => {
    await fc.assert(
      fc.asyncProperty(
        schedules({ ...ORDINARY, lose: 2, trim: 1, loseData: 1 }),
        async ({ size, pageSize, steps }) => {
          const world = new World(size, pageSize);
          for (const [action, choice] of steps) await world.step(action, choice);
          await world.quiesce();
          expect(world.faults).toEqual([]);
          for (const client of world.clients) {
            expect(client.joined).toBe(true);
            // Nobody is left behind in silence.
            expect(text(client.position!)).toBe(text(world.top));
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("recovers everyone where nothing was lost or trimmed, even if the bus loses messages", async () => {
    await fc.assert(
      fc.asyncProperty(schedules({ ...ORDINARY, lose: 2 }), async ({ pageSize, steps }) => {
        const world = new World(1000, pageSize);
        for (const [action, choice] of steps) await world.step(action, choice);
        await world.quiesce();
        expect(world.faults).toEqual([]);
        for (const { toldLost, lastMissing } of world.clients)
          expect({ toldLost, lastMissing }).toEqual({ toldLost: 0, lastMissing: 0 });
        expect(world.stale).toBe(0);
      }),
      { numRuns: RUNS },
    );
  });

  it("serves many who ask from one position with one read", async () => {
    const world = new World(100);
    world.publish();
    for (let i = 0; i < 50; i++) world.clients.push(new ReaderClient(world, { offset: 0, epoch: "e1" }));
    await settle();
    expect(world.unread.length).toBe(1);
    await world.quiesce();
    for (const client of world.clients) expect(client.position).toEqual({ offset: 1, epoch: "e1" });
  });

  it("gives the last publication although another was appended since the node delivered that before", async () => {
    const world = new World(1);
    world.clients.push(new ReaderClient(world, undefined));
    world.publish();
    await world.quiesce();
    world.publish();
    const late = new ReaderClient(world, "last");
    world.clients.push(late);
    await world.quiesce();
    expect(late.missed.map(({ position }) => text(position))).toEqual(["e1-2"]);
    expect(world.faults).toEqual([]);
  });

  it("gives the last publication that came while history was read for it", async () => {
    const world = new World(1);
    world.publish();
    const client = new ReaderClient(world, "last");
    await settle();
    world.unread.shift()!();
    world.publish();
    const other = new ReaderClient(world, undefined);
    world.clients.push(client, other);
    await world.quiesce();
    expect(client.missed.map(({ position }) => text(position))).toEqual(["e1-1"]);
    expect([client.position, other.position]).toEqual([world.top, world.top]);
    expect(world.faults).toEqual([]);
  });

  it("goes on with what came in before it was opened, where the first subscriber's answer fails", async () => {
    const world = new World(10);
    const joining = world.feed.join(undefined, () => {
      throw new Error("not taken");
    });
    const failed = expect(joining).rejects.toThrow("not taken");
    world.unread.shift()!();
    world.publish();
    world.feed.live(world.bus.shift()!);
    world.answers.shift()!();
    await failed;
    const client = new ReaderClient(world, undefined);
    world.clients.push(client);
    await settle();
    expect(client.position).toEqual({ offset: 1, epoch: "e1" });
  });

  it("tells a gap for each publication between others that cannot be read", async () => {
    const world = new World(100);
    world.clients.push(new ReaderClient(world, undefined));
    await world.quiesce();
    for (const offset of [1, 3, 6]) world.unreadable.add(offset);
    for (let i = 0; i < 7; i++) world.publish();
    // The bus brings the last of them alone.
    const last = world.bus.splice(0).at(-1)!;
    world.feed.live(last);
    await world.quiesce();
    expect(world.faults).toEqual([]);
    expect(world.clients[0]).toMatchObject({ toldLost: 3, position: { offset: 7, epoch: "e1" } });
  });

  it("drops and counts what belongs to an epoch that the channel has left", async () => {
    const world = new World(100);
    world.clients.push(new ReaderClient(world, undefined));
    await world.quiesce();
    world.publish();
    world.loseData();
    world.publish();
    const [old, fresh] = world.bus.splice(0);
    world.feed.live(fresh!);
    world.feed.live(old!);
    await world.quiesce();
    expect(world.stale).toBe(1);
    expect(world.clients[0]).toMatchObject({ toldLost: 1, position: { offset: 1, epoch: "e2" } });
  });
});
