/** What every Broker promises: src/core/broker.ts. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { Broker } from "../../src/core/broker.js";
import type { PublicationExtras } from "../../src/core/extras.js";
import { Encoding } from "../../src/encoding/payload.js";
import { eventually } from "../support/eventually.js";
import { createRecorder, publish, type Recorder } from "../support/publications.js";

export const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

export interface BrokerBounds {
  readonly maxQueuedItems: number;
}

/** @param create  a broker that was not started, on a bus that no other test hears */
export function describeBrokerContract(name: string, create: (bounds?: BrokerBounds) => Broker): void {
  describe(`broker contract: ${name}`, () => {
    let broker: Broker;
    let recorder: Recorder;

    async function start(bounds?: BrokerBounds): Promise<void> {
      broker = create(bounds);
      recorder = createRecorder();
      await broker.start(recorder);
    }

    const received = (count: number): Promise<void> =>
      eventually(() => expect(recorder.publications.length).toBeGreaterThanOrEqual(count));

    beforeEach(() => start());
    afterEach(() => broker.stop());

    it("says that the link is up once it started", () => {
      expect(recorder.links).toEqual([true]);
    });

    it("delivers a publication to its own publisher, and settles it once", async () => {
      const outcomes = publish(broker, "hello");
      await received(1);
      await eventually(() => expect(outcomes).toEqual(["sent"]));
      // Another round trip: time for a second settle or delivery to show.
      publish(broker, "next");
      await received(2);
      expect(outcomes).toEqual(["sent"]);
      expect(recorder.texts).toEqual(["hello", "next"]);
    });

    it("never delivers inside publish", async () => {
      publish(broker, "a");
      expect(recorder.publications).toEqual([]);
      await received(1);
    });

    it("never delivers inside a publish that is made while delivering", async () => {
      const depths: number[] = [];
      let depth = 0;
      const seen = recorder.publication.bind(recorder);
      recorder.publication = (publication) => {
        depths.push(++depth);
        seen(publication);
        if (recorder.texts.length < 5) publish(broker, `again ${recorder.texts.length}`);
        depth--;
      };
      publish(broker, "first");
      await received(5);
      expect(depths).toEqual([1, 1, 1, 1, 1]);
    });

    it("keeps the order of 10,000 publications of one channel", async () => {
      const sent = Array.from({ length: 10_000 }, (_, i) => `message ${i}`);
      const outcomes = sent.map((text) => publish(broker, text));
      await received(sent.length);
      await eventually(() => expect(outcomes.every(([outcome]) => outcome === "sent")).toBe(true));
      expect(recorder.texts).toEqual(sent);
    });

    it("keeps the order within each of many channels", async () => {
      for (let i = 0; i < 1_000; i++) publish(broker, `${i}`, { key: `main/room-${i % 17}` });
      await received(1_000);
      for (let room = 0; room < 17; room++) {
        const texts = recorder.texts.filter((_, i) => recorder.publications[i]!.key === `main/room-${room}`);
        expect(texts).toEqual([...texts].sort((a, b) => Number(a) - Number(b)));
        expect(texts.length).toBeGreaterThan(50);
      }
    });

    it("carries sender, event, tags and the excluded connection", async () => {
      const before = Date.now();
      const fields = {
        key: "shop/orders:eu",
        from: { connection: "c1", user: "üser 42" },
        event: "order.created",
        tags: { region: "eu", "": "empty name", ["__proto__"]: "a name like any other" },
        exclude: "c1",
      };
      publish(broker, "x", fields);
      publish(broker, "y", { from: { connection: "c2" } });
      await received(2);
      // Channels have no order among each other.
      const first = recorder.publications.find(({ key }) => key === fields.key);
      const second = recorder.publications.find(({ key }) => key !== fields.key);
      expect(first).toMatchObject({ ...fields, tags: {}, position: undefined });
      expect(Object.entries(first!.tags!)).toEqual(Object.entries(fields.tags));
      expect(first!.publishedAtMs).toBeGreaterThanOrEqual(before);
      expect(first!.publishedAtMs).toBeLessThanOrEqual(Date.now());
      expect(second).toMatchObject({
        from: { connection: "c2" },
        event: undefined,
        tags: undefined,
        exclude: undefined,
      });
      expect(second!.from!.user).toBeUndefined();
    });

    it.each<PublicationExtras>([
      { trace: TRACE },
      { info: '{"name":"Ann"}' },
      { sequence: Number.MAX_SAFE_INTEGER },
      { trace: TRACE, info: "[]", sequence: 0 },
    ])("carries %j beside it, and nothing where nothing is given", async (extras) => {
      const from = { connection: "c1" };
      for (const given of [undefined, extras, undefined]) publish(broker, "x", { from, extras: given });
      await received(3);
      expect(recorder.publications.map((each) => each.extras)).toEqual([undefined, extras, undefined]);
    });

    it.each<[string, PublicationExtras]>([
      ["a trace that is none", { trace: "00-abc" }],
      ["a trace of 300 characters", { trace: `${TRACE}-${"x".repeat(300)}` }],
      ["info that is no JSON", { info: "{" }],
      ["info of 2 kB", { info: JSON.stringify("x".repeat(2_000)) }],
      ["a sequence below 0", { sequence: -1 }],
      ["a sequence past what numbers count", { sequence: 2 ** 53 }],
    ])("refuses %s with bad_request, and goes on", async (_, extras) => {
      const outcomes = [publish(broker, "bad", { extras }), publish(broker, "good")];
      await received(1);
      await eventually(() => expect(outcomes).toEqual([["bad_request"], ["sent"]]));
      expect(recorder.texts).toEqual(["good"]);
    });

    it.each([
      ["JSON", Encoding.json, Buffer.from('{"a":[1,"ü"]}')],
      ["MessagePack", Encoding.msgpack, Buffer.from([0x81, 0xa1, 0x61, 0x01])],
      ["binary", Encoding.binary, Buffer.from(Array.from({ length: 256 }, (_, i) => i))],
      ["empty binary", Encoding.binary, Buffer.alloc(0)],
      ["a plain Uint8Array", Encoding.binary, new Uint8Array([0, 1, 255])],
      ["text that is no JSON", Encoding.text, Buffer.from('{"ü": say "hi"\n')],
      ["empty text", Encoding.text, Buffer.alloc(0)],
      ["300 kB", Encoding.binary, Buffer.alloc(300_000, 7)],
    ])("carries a payload of %s byte for byte", async (_, encoding, bytes) => {
      recorder.texts.length = 0;
      publish(broker, "", { payload: { bytes, encoding } });
      await received(1);
      const { payload } = recorder.publications[0]!;
      expect(payload.encoding).toBe(encoding);
      expect(Buffer.from(payload.bytes).equals(bytes)).toBe(true);
    });

    it("delivers the rest when a handler throws", async () => {
      const seen = recorder.publication.bind(recorder);
      recorder.publication = (publication) => {
        seen(publication);
        if (recorder.texts.at(-1) === "bad") throw new Error("of the test");
      };
      const outcomes = ["a", "bad", "b"].map((text) => publish(broker, text));
      await received(3);
      expect(recorder.texts).toEqual(["a", "bad", "b"]);
      await eventually(() => expect(outcomes.flat()).toEqual(["sent", "sent", "sent"]));
    });

    it("settles the rest when a publisher throws", async () => {
      broker.publish({
        key: "main/room",
        payload: { bytes: Buffer.from("1"), encoding: Encoding.json },
        from: undefined,
        event: undefined,
        tags: undefined,
        exclude: undefined,
        settle: () => {
          throw new Error("of the test");
        },
      });
      const outcomes = publish(broker, "next");
      await eventually(() => expect(outcomes).toEqual(["sent"]));
    });

    it("refuses with unavailable what is over its bound, and goes on after", async () => {
      await broker.stop();
      await start({ maxQueuedItems: 100 });
      const outcomes = Array.from({ length: 150 }, (_, i) => publish(broker, `${i}`));
      await received(100);
      await eventually(() => expect(outcomes.filter(([outcome]) => outcome === "sent")).toHaveLength(100));
      expect(outcomes.slice(100).flat()).toEqual(Array<string>(50).fill("unavailable"));
      publish(broker, "after");
      await received(101);
      expect(recorder.texts.at(-1)).toBe("after");
    });

    it("stop sends what is queued and settles everything", async () => {
      const outcomes = Array.from({ length: 1_000 }, (_, i) => publish(broker, `${i}`));
      await broker.stop();
      expect(outcomes.flat()).toEqual(Array<string>(1_000).fill("sent"));
      expect(recorder.links).toEqual([true, false]);
    });

    it("refuses with unavailable after stop, and stops twice", async () => {
      await broker.stop();
      const outcomes = publish(broker, "late");
      await eventually(() => expect(outcomes).toEqual(["unavailable"]));
      await broker.stop();
    });

    it("needs no wait to subscribe to what every node hears", async () => {
      await broker.subscribe("main/room");
      publish(broker, "after subscribe");
      await received(1);
      broker.unsubscribe("main/room");
    });
  });
}
