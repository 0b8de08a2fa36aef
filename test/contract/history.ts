/** What every Broker promises about channels that keep history: src/core/broker.ts. */

import { beforeEach, describe, expect, it, onTestFinished } from "vitest";

import type { Broker, HistoryQuery, HistoryRule } from "../../src/core/broker.js";
import { Encoding } from "../../src/encoding/payload.js";
import { type Position } from "../../src/core/publication.js";
import { eventually } from "../support/eventually.js";
import { TRACE } from "./broker.js";
import { createRecorder, type Recorder, type RequestFields } from "../support/publications.js";

export interface HistoryBrokerOptions {
  readonly messageIdWindowMs?: number;
  readonly emptyMs?: number;
}

export interface HistorySubject {
  /** A broker that was not started; those of one bus hear each other where `shared` says so. */
  readonly create: (bus: string, options: HistoryBrokerOptions) => Broker;
  readonly shared: boolean;
}

export const RULE: HistoryRule = { size: 100, ttlMs: 60_000 };
const KEY = "main/room";

/** Publishes JSON text with history. @returns its position, or the code of its failure */
export function keep(broker: Broker, text: string, fields: RequestFields = {}): Promise<Position | string> {
  return new Promise((resolve) => {
    broker.publish({
      key: KEY,
      payload: { bytes: Buffer.from(JSON.stringify(text)), encoding: Encoding.json },
      from: undefined,
      event: undefined,
      tags: undefined,
      exclude: undefined,
      history: RULE,
      ...fields,
      settle: (failure, position) => resolve(failure?.code ?? position ?? "no position"),
    });
  });
}

export async function keepAll(broker: Broker, texts: readonly string[], fields: RequestFields = {}) {
  return (await Promise.all(texts.map((text) => keep(broker, text, fields)))) as Position[];
}

/** Texts and offsets of a stretch, and the top. */
export async function read(broker: Broker, query: Partial<HistoryQuery> = {}, key = KEY) {
  const asked = { rule: RULE, since: undefined, limit: 1_000, reverse: false, ...query };
  const { publications, top, more = false } = await broker.history(key, asked);
  return {
    more,
    texts: publications.map(({ payload }) => JSON.parse(Buffer.from(payload.bytes).toString()) as string),
    offsets: publications.map(({ position }) => position?.offset),
    epochs: [...new Set(publications.map(({ position }) => position?.epoch))],
    top,
  };
}

export const numbered = (count: number, from = 1): string[] =>
  Array.from({ length: count }, (_, i) => `${from + i}`);
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

let buses = 0;

export function describeHistoryContract(name: string, { create, shared }: HistorySubject): void {
  describe(`history contract: ${name}`, () => {
    let broker: Broker;
    let recorder: Recorder;
    let bus: string;

    async function start(options: HistoryBrokerOptions = {}): Promise<[Broker, Recorder]> {
      const started = create(bus, options);
      const heard = createRecorder();
      await started.start(heard);
      onTestFinished(() => started.stop());
      return [started, heard];
    }

    const top = async (key = KEY): Promise<Position> => (await broker.positions([{ key, rule: RULE }]))[0]!;

    beforeEach(async () => {
      bus = `history${++buses}`;
      [broker, recorder] = await start();
    });

    it("numbers each channel from 1 without gaps", async () => {
      const keys = ["main/a", "main/b", "main/c"];
      const jobs: Promise<Position | string>[] = [];
      for (let i = 0; i < 300; i++) {
        jobs.push(keep(broker, `${i}`, { key: keys[i % 3]! }));
        if (i % 50 === 49) await new Promise((resolve) => setImmediate(resolve));
      }
      const positions = (await Promise.all(jobs)) as Position[];
      for (let k = 0; k < 3; k++) {
        const of = positions.filter((_, i) => i % 3 === k);
        expect(of.map(({ offset }) => offset)).toEqual(range(1, 100));
        expect(new Set(of.map(({ epoch }) => epoch)).size).toBe(1);
      }
    });

    it("acknowledges the position that it delivers", async () => {
      const positions = await keepAll(broker, numbered(20));
      await eventually(() => expect(recorder.publications).toHaveLength(20));
      expect(recorder.publications.map(({ position }) => position)).toEqual(positions);
      expect(recorder.texts).toEqual(numbered(20));
    });

    it("has in a page what the same node published before it was asked", async () => {
      const answer = keep(broker, "x");
      expect(await read(broker)).toMatchObject({ texts: ["x"], top: { offset: 1 } });
      await answer;
      await eventually(() => expect(recorder.texts).toEqual(["x"]));
    });

    it("delivers never inside publish, with history as without", async () => {
      const answer = keep(broker, "x");
      expect(recorder.publications).toEqual([]);
      await answer;
      await eventually(() => expect(recorder.publications).toHaveLength(1));
    });

    it("keeps apart what is published with and without history in one turn", async () => {
      const jobs = numbered(40).map((text, i) =>
        keep(broker, text, i % 2 === 0 ? {} : { key: "main/passing", history: undefined }),
      );
      const answers = await Promise.all(jobs);
      expect(answers.filter((_, i) => i % 2 === 1)).toEqual(Array<string>(20).fill("no position"));
      expect(answers.filter((_, i) => i % 2 === 0).map((at) => (at as Position).offset)).toEqual(
        range(1, 20),
      );
      await eventually(() => expect(recorder.publications).toHaveLength(40));
      const passing = recorder.publications.filter(({ key }) => key === "main/passing");
      expect(passing.map(({ position }) => position)).toEqual(Array<undefined>(20).fill(undefined));
      const texts = (key: string): string[] =>
        recorder.texts.filter((_, i) => recorder.publications[i]!.key === key);
      expect(texts("main/passing")).toEqual(numbered(40).filter((_, i) => i % 2 === 1));
      expect(texts(KEY)).toEqual(numbered(40).filter((_, i) => i % 2 === 0));
    });

    it("reads what follows a position, up to a limit", async () => {
      const [first] = await keepAll(broker, numbered(10));
      const { epoch } = first!;
      const after = (offset: number): Partial<HistoryQuery> => ({ since: { offset, epoch } });
      expect(await read(broker)).toEqual({
        more: false,
        texts: numbered(10),
        offsets: range(1, 10),
        epochs: [epoch],
        top: { offset: 10, epoch },
      });
      expect((await read(broker, after(4))).offsets).toEqual(range(5, 10));
      expect((await read(broker, { ...after(4), limit: 3 })).offsets).toEqual([5, 6, 7]);
      expect((await read(broker, { limit: 3 })).offsets).toEqual([1, 2, 3]);
      expect((await read(broker, after(0))).offsets).toEqual(range(1, 10));
      expect((await read(broker, after(9))).offsets).toEqual([10]);
    });

    it("has nothing after its top, beyond it, or for another epoch, and says where it stands", async () => {
      const [first] = await keepAll(broker, numbered(3));
      const { epoch } = first!;
      for (const since of [
        { offset: 3, epoch },
        { offset: 4_000, epoch },
        { offset: 1, epoch: "another" },
      ]) {
        expect(await read(broker, { since })).toMatchObject({ texts: [], top: { offset: 3, epoch } });
      }
      const since = { offset: 1, epoch: "another" };
      expect(await read(broker, { since, reverse: true })).toMatchObject({ texts: [] });
    });

    it("reads in reverse: the newest, and what stands before a position", async () => {
      const [first] = await keepAll(broker, numbered(10));
      const { epoch } = first!;
      expect((await read(broker, { reverse: true })).offsets).toEqual(range(1, 10).reverse());
      expect((await read(broker, { reverse: true, limit: 2 })).offsets).toEqual([10, 9]);
      const since = { offset: 4, epoch };
      expect((await read(broker, { reverse: true, since })).offsets).toEqual([3, 2, 1]);
      expect((await read(broker, { reverse: true, since, limit: 1 })).offsets).toEqual([3]);
      expect((await read(broker, { reverse: true, since: { offset: 1, epoch } })).offsets).toEqual([]);
      expect((await read(broker, { reverse: true, since: { offset: 99, epoch } })).offsets).toEqual(
        range(1, 10).reverse(),
      );
    });

    it("holds what was published: payload, sender, event, tags, exclusion, time", async () => {
      const before = Date.now();
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const fields = {
        payload: { bytes, encoding: Encoding.binary },
        from: { connection: "c1", user: "üser" },
        event: "order.created",
        tags: { region: "eu", ["__proto__"]: "a name like any other" },
        exclude: "c1",
      };
      const position = await keep(broker, "", fields);
      const { publications } = await broker.history(KEY, {
        rule: RULE,
        since: undefined,
        limit: 1,
        reverse: false,
      });
      const [kept] = publications;
      await eventually(() => expect(recorder.publications).toHaveLength(1));
      for (const publication of [kept!, recorder.publications[0]!]) {
        expect({ ...publication, payload: undefined, tags: undefined, publishedAtMs: 0 }).toEqual({
          ...fields,
          key: KEY,
          payload: undefined,
          tags: undefined,
          position,
          publishedAtMs: 0,
        });
        expect(publication.payload.encoding).toBe(Encoding.binary);
        expect(Buffer.from(publication.payload.bytes).equals(bytes)).toBe(true);
        expect(Object.entries(publication.tags!)).toEqual(Object.entries(fields.tags));
        expect(publication.publishedAtMs).toBeGreaterThanOrEqual(before);
        expect(publication.publishedAtMs).toBeLessThanOrEqual(Date.now());
      }
    });

    it("tells no more than its size, whatever else is still held", async () => {
      const rule = { size: 5, ttlMs: 60_000 };
      await keepAll(broker, numbered(200), { history: rule });
      const newest = range(196, 200);
      const page = await read(broker, { rule });
      expect(page).toMatchObject({ offsets: newest, top: { offset: 200 } });
      const { epoch } = page.top;
      expect((await read(broker, { rule, since: { offset: 10, epoch } })).offsets).toEqual(newest);
      expect((await read(broker, { rule, reverse: true })).offsets).toEqual([...newest].reverse());
      expect((await read(broker, { rule, reverse: true, since: { offset: 198, epoch } })).offsets).toEqual([
        197, 196,
      ]);
      expect((await read(broker, { rule, reverse: true, since: { offset: 100, epoch } })).offsets).toEqual(
        [],
      );
    });

    it("keeps about as many bytes as it may, whatever its size is, and always the newest", async () => {
      const rule = { size: 1_000, ttlMs: 60_000, bytes: 80_000 };
      for (const key of ["main/small", "main/large", "main/huge"]) {
        const bytes = { "main/small": 1_000, "main/large": 15_000, "main/huge": 200_000 }[key]!;
        const texts = numbered(key === "main/small" ? 1_500 : 60).map((n) => n.padEnd(bytes, "x"));
        for (const text of texts) await keep(broker, text, { key, history: rule });
        const page = await read(broker, { rule }, key);
        expect(page.texts.at(-1)).toBe(texts.at(-1));
        expect(page.top.offset).toBe(texts.length);
        const kept = page.texts.length * bytes;
        expect(kept).toBeGreaterThanOrEqual(Math.min(rule.bytes * 0.75, bytes));
        // Redis drops whole nodes of a stream, of 4 kB or an entry.
        expect(kept).toBeLessThanOrEqual(rule.bytes * 1.25 + bytes * 2);
        expect(page.offsets).toEqual(range(texts.length - page.texts.length + 1, texts.length));
      }
    });

    it("keeps nothing of a channel that was only read, and an epoch of one that was looked at", async () => {
      const peek = await read(broker, { peek: true });
      expect(peek).toMatchObject({ texts: [], top: { offset: 0 } });
      expect((await read(broker, { peek: true })).top.epoch).not.toBe(peek.top.epoch);
      const looked = await top();
      expect((await read(broker, { peek: true })).top).toEqual(looked);
      const first = await keep(broker, "first");
      expect(first).toEqual({ offset: 1, epoch: looked.epoch });
      expect(await read(broker, { peek: true })).toMatchObject({ texts: ["first"], top: first });
    });

    it("forgets the epoch of a channel that nobody published to before that of others", async () => {
      bus = `${bus}empty`;
      const [quick] = await start({ emptyMs: 100 });
      const look = async (): Promise<Position> => (await quick.positions([{ key: KEY, rule: RULE }]))[0]!;
      const empty = await look();
      const used = (await keep(quick, "x", { key: "main/used" })) as Position;
      // Each look keeps it for another 100 ms.
      await new Promise((resolve) => setTimeout(resolve, 250));
      expect((await look()).epoch).not.toBe(empty.epoch);
      expect((await read(quick, {}, "main/used")).top).toEqual(used);
    });

    it("forgets what is older than its time, and goes on from where it stood", async () => {
      const rule = { size: 10, ttlMs: 100 };
      const before = await keepAll(broker, numbered(3), { history: rule });
      await eventually(async () => expect((await read(broker, { rule })).texts).toEqual([]));
      expect((await read(broker, { rule })).top).toEqual(before[2]);
      const next = await keep(broker, "next", { history: rule });
      // The same offset under the same epoch would be two messages for one.
      expect(next).toEqual({ offset: 4, epoch: before[0]!.epoch });
    });

    it("keeps text, whom it excludes and what goes with it, and delivers and reads them alike", async () => {
      const payload = { bytes: Buffer.from("no JSON"), encoding: Encoding.text };
      const extras = { trace: TRACE, info: '{"name":"Ann"}', sequence: 7 };
      const from = { connection: "c1" };
      await Promise.all([
        keep(broker, "first", { from }),
        keep(broker, "", { payload, from, exclude: "c1", extras }),
        keep(broker, "last", { from }),
      ]);
      await eventually(() => expect(recorder.publications).toHaveLength(3));
      const { publications } = await broker.history(KEY, {
        rule: RULE,
        since: undefined,
        limit: 10,
        reverse: false,
      });
      for (const seen of [recorder.publications, publications]) {
        expect(seen.map(({ payload: { encoding } }) => encoding)).toEqual([0, 3, 0]);
        expect(Buffer.from(seen[1]!.payload.bytes).toString()).toBe("no JSON");
        expect(seen.map(({ exclude }) => exclude)).toEqual([undefined, "c1", undefined]);
        expect(seen.map((each) => each.extras)).toEqual([undefined, extras, undefined]);
      }
    });

    it("publishes a messageId once: the repetition gets the position of the first", async () => {
      const first = await keep(broker, "once", { messageId: "m1" });
      const again = await keep(broker, "twice", { messageId: "m1" });
      const other = await keep(broker, "other", { messageId: "m2" });
      expect(again).toEqual(first);
      expect((other as Position).offset).toBe(2);
      await eventually(() => expect(recorder.texts).toEqual(["once", "other"]));
      expect((await read(broker)).texts).toEqual(["once", "other"]);
    });

    it("publishes a messageId once within one turn, and numbers the others without gaps", async () => {
      const texts = numbered(30);
      const answers = await Promise.all(
        texts.map((text, i) => keep(broker, text, i % 3 === 2 ? {} : { messageId: `m${i % 3}` })),
      );
      const offsets = answers.map((answer) => (answer as Position).offset);
      expect(new Set(offsets)).toEqual(new Set(range(1, 12)));
      expect(offsets.slice(0, 3)).toEqual([1, 2, 3]);
      expect(offsets.filter((_, i) => i % 3 === 0)).toEqual(Array<number>(10).fill(1));
      await eventually(() => expect(recorder.publications).toHaveLength(12));
      expect(recorder.publications.map(({ position }) => position!.offset)).toEqual(range(1, 12));
    });

    it("takes the same messageId of another channel as another message", async () => {
      await keep(broker, "a", { key: "main/a", messageId: "m1" });
      await keep(broker, "b", { key: "main/b", messageId: "m1" });
      await eventually(() => expect(recorder.texts).toEqual(["a", "b"]));
    });

    it("forgets a messageId after its window", async () => {
      bus = `${bus}short`;
      const [short] = await start({ messageIdWindowMs: 50 });
      const first = (await keep(short, "x", { messageId: "m1" })) as Position;
      await eventually(async () => {
        const again = (await keep(short, "x", { messageId: "m1" })) as Position;
        expect(again.offset).toBeGreaterThan(first.offset);
      });
    });

    it("says where an empty channel stands, and begins there", async () => {
      const empty = await top();
      expect(empty.offset).toBe(0);
      expect(await top()).toEqual(empty);
      expect(await read(broker)).toMatchObject({ texts: [], top: empty });
      expect(await keep(broker, "first")).toEqual({ offset: 1, epoch: empty.epoch });
      expect(await top()).toEqual({ offset: 1, epoch: empty.epoch });
    });

    it("says where many channels stand, in their order", async () => {
      const keys = numbered(600).map((number) => `main/${number}`);
      await Promise.all(keys.filter((_, i) => i % 2 === 0).map((key) => keep(broker, "x", { key })));
      const tops = await broker.positions(keys.map((key) => ({ key, rule: RULE })));
      expect(tops.map(({ offset }) => offset)).toEqual(keys.map((_, i) => (i % 2 === 0 ? 1 : 0)));
      expect(await broker.positions([])).toEqual([]);
      expect((await read(broker, {}, "main/599")).top).toEqual(tops[598]);
    });

    it("ends a page soon after as many bytes as were asked for, says more, and goes on from there", async () => {
      const texts = numbered(60).map((number) => number.padEnd(2_000, "x"));
      // One by one, or an entry holds them all.
      for (const text of texts) await keep(broker, text);
      for (const reverse of [false, true]) {
        const whole = reverse ? texts.toReversed() : texts;
        const found: string[] = [];
        let since: Position | undefined;
        for (let pages = 1; ; pages++) {
          const page = await read(broker, { since, reverse, maxBytes: 20_000 });
          expect(page.texts.length).toBeGreaterThan(0);
          expect(page.texts.length).toBeLessThanOrEqual(11);
          found.push(...page.texts);
          if (!page.more) break;
          expect(pages).toBeLessThan(10);
          since = { offset: page.offsets.at(-1)!, epoch: page.top.epoch };
        }
        expect(found).toEqual(whole);
      }
      expect(await read(broker, { limit: 5 })).toMatchObject({ more: true });
      expect(await read(broker, { limit: 60 })).toMatchObject({ more: false });
      expect(await read(broker, { limit: 0 })).toMatchObject({ more: false });
    });

    it("reads much at once, complete and in order", async () => {
      const rule = { size: 1_000, ttlMs: 60_000 };
      const texts = numbered(100).map((number) => number.padEnd(40_000, "x"));
      await keepAll(broker, texts, { history: rule });
      const page = await read(broker, { rule });
      expect(page.offsets).toEqual(range(1, 100));
      expect(page.texts).toEqual(texts);
      expect((await read(broker, { rule, reverse: true })).offsets).toEqual(range(1, 100).reverse());
      expect((await read(broker, { rule, limit: 77 })).offsets).toEqual(range(1, 77));
    });

    it("answers many reads at once", async () => {
      await keepAll(broker, numbered(10));
      const pages = await Promise.all(Array.from({ length: 500 }, () => read(broker)));
      expect(new Set(pages.map(({ offsets }) => offsets.length))).toEqual(new Set([10]));
    });

    it("refuses to read with unavailable after stop", async () => {
      await broker.stop();
      await expect(read(broker)).rejects.toMatchObject({ code: "unavailable" });
      await expect(top()).rejects.toMatchObject({ code: "unavailable" });
      expect(await keep(broker, "x")).toBe("unavailable");
    });

    it("settles with positions what stop sends", async () => {
      const jobs = keepAll(broker, numbered(100));
      await broker.stop();
      expect((await jobs).map(({ offset }) => offset)).toEqual(range(1, 100));
    });

    if (!shared) {
      it("has a new epoch at each start", async () => {
        const before = await top();
        const [another] = await start();
        expect((await another.positions([{ key: KEY, rule: RULE }]))[0]!.epoch).not.toBe(before.epoch);
      });
      return;
    }

    it("publishes a messageId once that two nodes race for", async () => {
      const [other, otherRecorder] = await start();
      const answers = await Promise.all(
        numbered(200).flatMap((id) => [
          keep(broker, `a${id}`, { messageId: id }),
          keep(other, `b${id}`, { messageId: id }),
        ]),
      );
      for (let i = 0; i < answers.length; i += 2) expect(answers[i + 1]).toEqual(answers[i]);
      await eventually(() => expect(recorder.publications).toHaveLength(200));
      await eventually(() => expect(otherRecorder.publications).toHaveLength(200));
      expect(otherRecorder.texts).toEqual(recorder.texts);
    });

    it("two nodes publish one channel: unique, contiguous, one order", async () => {
      const [other, otherRecorder] = await start();
      const jobs: Promise<Position | string>[] = [];
      for (let i = 0; i < 2_500; i++) {
        jobs.push(keep(broker, `a${i}`), keep(other, `b${i}`));
        if (i % 25 === 24) await new Promise((resolve) => setImmediate(resolve));
      }
      const acknowledged = (await Promise.all(jobs)) as Position[];
      await eventually(() => expect(recorder.publications).toHaveLength(5_000));
      await eventually(() => expect(otherRecorder.publications).toHaveLength(5_000));
      expect(recorder.publications.map(({ position }) => position!.offset)).toEqual(range(1, 5_000));
      expect(otherRecorder.publications.map(({ position }) => position)).toEqual(
        recorder.publications.map(({ position }) => position),
      );
      expect(otherRecorder.texts).toEqual(recorder.texts);
      // Each acknowledgement names the place at which its own text was delivered.
      for (const [i, { offset }] of acknowledged.entries()) {
        expect(recorder.texts[offset - 1]).toBe(`${i % 2 === 0 ? "a" : "b"}${i >> 1}`);
      }
    });
  });
}
