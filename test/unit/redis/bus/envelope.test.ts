import { pack } from "msgpackr";
import { describe, expect, it } from "vitest";
import fc from "fast-check";

import type { BusPublication, PublishRequest } from "../../../../src/core/broker.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { decodeEnvelope, readEntry } from "../../../../src/redis/bus/envelope-reader.js";
import {
  POSITIONED_VERSION,
  encodeEnvelope,
  encodeItems,
  encodePositionedHead,
} from "../../../../src/redis/bus/envelope.js";
import { FORMAT } from "../../../../src/redis/link/fleet-format.js";
import { BUS_MESSAGE_BYTES_MAX } from "../../../../src/redis/bus/packing.js";

const NOW = 1_700_000_000_123;

const encode = (...requests: PublishRequest[]): Buffer => encodeEnvelope("n1", NOW, requests, FORMAT);
const encodeItem = (one: PublishRequest, publishedAtMs: number): Buffer =>
  Buffer.from(encodeItems([one], publishedAtMs, FORMAT).bytes);

/** @throws where any of it cannot be read */
function decode(bytes: Buffer, hears = (_key: string): boolean => true): ReturnType<typeof decodeEnvelope> {
  const envelope = decodeEnvelope(bytes, hears);
  if (envelope.unreadable > 0) throw envelope.problem as Error;
  return envelope;
}

function request(fields: Partial<PublishRequest> = {}): PublishRequest {
  return {
    key: "main/room",
    payload: { bytes: Buffer.from('"hi"'), encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    settle: () => undefined,
    ...fields,
  };
}

const full = request({
  key: "shop/orders",
  payload: { bytes: Buffer.from([0, 255]), encoding: Encoding.binary },
  from: { connection: "c1", user: "u1" },
  event: "created",
  tags: { region: "eu", ["__proto__"]: "x" },
  exclude: "c1",
});

describe("envelope", () => {
  it("is a flat array that says its version, node and time", () => {
    const bytes = encode(request({ from: { connection: "c1" } }));
    const expected = [2, "n1", NOW, ["main/room", 0, Buffer.from('"hi"'), ["c1", null, null, null, null]]];
    expect(bytes.equals(pack(expected))).toBe(true);
  });

  it("gives back what was put in", () => {
    const { node, openedAtMs, publications } = decode(encode(request(), full));
    expect({ node, openedAtMs }).toEqual({ node: "n1", openedAtMs: NOW });
    expect(publications).toHaveLength(2);
    for (const [i, sent] of [request(), full].entries()) {
      expect(publications[i]).toEqual({
        ...sent,
        settle: undefined,
        position: undefined,
        publishedAtMs: NOW,
      });
    }
    expect(Object.keys(publications[1]!.tags!)).toEqual(["region", "__proto__"]);
  });

  it("reads payloads as views, without a copy", () => {
    const bytes = encode(request());
    expect(decode(bytes).publications[0]!.payload.bytes.buffer).toBe(bytes.buffer);
  });

  it("keeps what was encoded when more is encoded", () => {
    const first = encode(request({ key: "main/first" }));
    for (let i = 0; i < 1_000; i++) encode(request({ key: `main/other-${i}` }));
    expect(decode(first).publications[0]!.key).toBe("main/first");
  });

  it.each([0, 1, 3, POSITIONED_VERSION + 1, -1, 1.5, "2", null])(
    "refuses version %s and names those it reads",
    (version) => {
      expect(() => decode(pack([version, "n1", NOW, []]))).toThrow(
        `envelope version ${version === null ? "null" : JSON.stringify(version)} is unknown: this node reads 2 and 4`,
      );
    },
  );

  const item = (...fields: unknown[]): unknown[] => [2, "n1", NOW, fields];
  const bytes = Buffer.from("1");
  it.each<[string, unknown]>([
    ["no array", { version: 2 }],
    ["an empty array", []],
    ["a node that is no string", [2, 7, NOW, []]],
    ["a node of 300 characters", [2, "n".repeat(300), NOW, []]],
    ["a time that is no number", [2, "n1", "now", []]],
    ["a time before 1970", [2, "n1", -1, []]],
    ["publications that are no array", [2, "n1", NOW, "x"]],
    ["half a publication", item("main/room", 0)],
    ["a key that is no string", item(1, 0, bytes, null)],
    ["a key without an application", item("room", 0, bytes, null)],
    ["a key of 600 characters", item(`main/${"x".repeat(600)}`, 0, bytes, null)],
    ["an encoding that does not exist", item("main/room", 4, bytes, null)],
    ["an encoding that is no number", item("main/room", "0", bytes, null)],
    ["a payload that is text", item("main/room", 0, "1", null)],
    ["meta data that is no array", item("main/room", 0, bytes, "x")],
    ["meta data that is too short", item("main/room", 0, bytes, [null])],
    ["a sender that is no string", item("main/room", 0, bytes, [1, null, null, null, null])],
    ["a user without a connection", item("main/room", 0, bytes, [null, "u", null, null, null])],
    ["an event that is no string", item("main/room", 0, bytes, [null, null, 1, null, null])],
    ["tags that are a map", item("main/room", 0, bytes, [null, null, null, { a: "b" }, null])],
    ["tags of odd length", item("main/room", 0, bytes, [null, null, null, ["a"], null])],
    ["a tag that is no string", item("main/room", 0, bytes, [null, null, null, ["a", 1], null])],
    ["an exclusion that is no string", item("main/room", 0, bytes, [null, null, null, null, 1])],
  ])("refuses %s", (_, value) => {
    expect(() => decode(pack(value))).toThrow(/is wrong|is unknown/);
  });

  it("does not repeat payloads or names in its errors", () => {
    const secret = item("main/room", 0, "the secret text", null);
    expect(() => decode(pack(secret))).toThrow(/^a payload is wrong: 175$/);
  });

  it.each<[string, number[]]>([
    ["nothing", []],
    ["an array of 2^32-1", [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ["a map of 2^32-1", [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ["binary of 2^32-1", [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
    ["text of 2^32-1", [0xdb, 0xff, 0xff, 0xff, 0xff, 1]],
    ["an extension of 2^32-1", [0xc9, 0xff, 0xff, 0xff, 0xff, 1]],
    ["the byte that MessagePack never uses", [0xc1]],
    ["a record definition", [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01]],
    ["a big integer", [0xc7, 9, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ["a regular expression", [0xc7, 3, 0x78, 0x92, 0xa0, 0xa0]],
    ["a date", [0xd6, 0xff, 0, 0, 0, 0]],
    ["two values", [0x90, 0x90]],
  ])("refuses %s", (_, raw) => {
    expect(() => decode(Buffer.from(raw))).toThrow(/byte \d+|^the envelope is wrong: /);
  });

  it("refuses arrays nested a million deep", () => {
    expect(() => decode(Buffer.alloc(1_000_000, 0x91))).toThrow();
    expect(() => decode(Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.from([1])]))).toThrow();
    // A reader that kept state over the failure would fail now.
    expect(decode(encode()).publications).toEqual([]);
  });

  it("refuses what is larger than the bus carries", () => {
    expect(() => decode(Buffer.alloc(BUS_MESSAGE_BYTES_MAX + 1, 0x90))).toThrow(`${BUS_MESSAGE_BYTES_MAX}`);
  });

  it("refuses an envelope cut anywhere", () => {
    const whole = encode(request(), full);
    for (let end = 0; end < whole.length; end++) {
      expect(() => decode(whole.subarray(0, end))).toThrow();
    }
  });

  it("either reads or throws, whatever the bytes", () => {
    const whole = encode(request(), full);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const broken = Buffer.from(whole);
        broken[at] = byte;
        try {
          for (const { key, payload } of decode(broken).publications) {
            expect(key).toContain("/");
            expect(payload.bytes).toBeInstanceOf(Uint8Array);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("positioned envelope", () => {
  const position = (offset: number, epoch = "e1"): [number, string] => [offset, epoch];
  const KEY = "main/room";

  /** As lua/history-append.lua puts it together: `positions` are offset and epoch in turn, of one channel each. */
  function positioned(
    positions: readonly unknown[],
    items: readonly Buffer[],
    keys: unknown = keysOf(items),
  ): Buffer {
    const runs: unknown[] = [];
    const numbers: number[] = [];
    for (let i = 0; i < positions.length; i += 2) {
      numbers.push(numbers.length + 1);
      runs.push(numbers.length, positions[i + 1], positions[i]);
    }
    return listed([runs, numbers], items, keys);
  }

  function listed(places: unknown, items: readonly Buffer[], keys: unknown = keysOf(items)): Buffer {
    const length = Buffer.from([0xdd, 0, 0, 0, items.length]);
    return Buffer.concat([encodePositionedHead("n1", NOW, keys as string[]), pack(places), length, ...items]);
  }

  const keysOf = (items: readonly Buffer[]): string[] => items.map(() => KEY);

  it("gives each publication its channel and its position", () => {
    const items = [request(), full].map((sent) => encodeItem(sent, NOW - 1));
    const { node, openedAtMs, publications, unheard } = decode(
      positioned([...position(7), ...position(1, "e2")], items, [request().key, full.key]),
    );
    expect({ node, openedAtMs, unheard }).toEqual({ node: "n1", openedAtMs: NOW, unheard: 0 });
    const expected = { settle: undefined, publishedAtMs: NOW - 1 };
    expect(publications).toEqual([
      { ...request(), ...expected, position: { offset: 7, epoch: "e1" } },
      { ...full, ...expected, position: { offset: 1, epoch: "e2" } },
    ]);
  });

  it("keeps the order of publications whose channels alternate", () => {
    const items = ["1", "2", "3"].map((text) =>
      encodeItem(request({ payload: { bytes: Buffer.from(text), encoding: Encoding.json } }), NOW),
    );
    const places = [
      [2, "e1", 5, 1, "e2", 8],
      [1, 2, 1],
    ];
    const { publications } = decode(listed(places, items, ["main/a", "main/b"]));
    expect(
      publications.map(({ key, payload, position: at }) => [key, Buffer.from(payload.bytes).toString(), at]),
    ).toEqual([
      ["main/b", "1", { offset: 5, epoch: "e1" }],
      ["main/a", "2", { offset: 8, epoch: "e2" }],
      ["main/b", "3", { offset: 6, epoch: "e1" }],
    ]);
  });

  it("leaves out what nobody hears, and counts it", () => {
    const items = [request(), full, request()].map((sent) => encodeItem(sent, NOW));
    const bytes = positioned([...position(7), ...position(1), ...position(8)], items, [KEY, full.key, KEY]);
    const heard = decode(bytes, (key) => key === full.key);
    expect(heard).toMatchObject({ publications: [{ key: full.key, event: "created" }], unheard: 2 });
    expect(decode(bytes, (key) => key === KEY)).toMatchObject({
      publications: [{ position: { offset: 7 } }, { position: { offset: 8 } }],
      unheard: 1,
    });
  });

  it("does not take one sender for another", () => {
    const senders = [
      { connection: "c1" },
      { connection: "c1" },
      { connection: "c2" },
      { connection: "c1", user: "u" },
    ];
    const items = senders.map((from) => encodeItem(request({ from }), NOW));
    const positions = senders.flatMap((_, i) => position(i + 1));
    expect(decode(positioned(positions, items)).publications.map(({ from }) => from)).toEqual(senders);
  });

  it("tells where each of several items ends", () => {
    const { bytes, lengths } = encodeItems([request(), full, request()], NOW, FORMAT);
    const together = Buffer.from(bytes);
    const alone = [request(), full, request()].map((one) => encodeItem(one, NOW));
    expect(lengths).toEqual(alone.map(({ length }) => length));
    expect(together).toEqual(Buffer.concat(alone));
  });

  it("reads items as an entry of history holds them", () => {
    const entry = Buffer.concat([encodeItem(request(), NOW - 1), encodeItem(full, NOW)]);
    const read = { settle: undefined, key: full.key };
    expect(readEntry(entry, full.key, "e1", 3, 2).publications).toEqual([
      { ...request(), ...read, publishedAtMs: NOW - 1, position: { offset: 3, epoch: "e1" } },
      { ...full, ...read, publishedAtMs: NOW, position: { offset: 4, epoch: "e1" } },
    ]);
    expect(() => readEntry(entry, full.key, "e1", 3, 1)).toThrow(/is wrong/);
    expect(() => readEntry(entry, full.key, "e1", 3, 3)).toThrow(/the end/);
  });

  const item = encodeItem(request(), NOW);
  const odd = (...fields: unknown[]): Buffer => positioned(position(1), [pack(fields)]);
  const run = (...fields: unknown[]): Buffer => listed([fields, [1]], [item]);
  const one = Buffer.from("1");
  it.each<[string, unknown]>([
    ["fewer positions than items", positioned([], [item])],
    ["more positions than items", positioned([...position(1), ...position(2)], [item])],
    ["offset 0", positioned(position(0), [item])],
    ["a negative offset", positioned(position(-1), [item])],
    ["half an offset", positioned(position(1.5), [item])],
    ["an offset that is text", positioned(["1", "e1"], [item])],
    ["an offset beyond what numbers count", positioned(position(2 ** 53), [item])],
    ["no epoch", positioned(position(1, ""), [item])],
    ["an epoch of 100 characters", positioned(position(1, "e".repeat(100)), [item])],
    ["an epoch that is a number", run(1, 1, 1)],
    ["a run without its offset", run(1, "e1")],
    ["a channel that is text", run("1", "e1", 1)],
    ["a channel that is not there", run(2, "e1", 1)],
    ["a channel before the first", run(0, "e1", 1)],
    ["a run that is not there", listed([[1, "e1", 1], [2]], [item])],
    ["a run before the first", listed([[1, "e1", 1], [0]], [item])],
    ["half a run's number", listed([[1, "e1", 1], [0.5]], [item])],
    ["positions without runs", listed([1, "e1"], [item])],
    ["positions that are a map", pack([POSITIONED_VERSION, ["n1", NOW, []], {}, []])],
    ["no items", pack([POSITIONED_VERSION, ["n1", NOW, [KEY]], [[1, "e1", 1], [1]], []])],
    ["items that are a map", pack([POSITIONED_VERSION, ["n1", NOW, []], [[], []], {}])],
    ["a head that is no array", pack([POSITIONED_VERSION, "n1", [[], []], []])],
    ["a node that is no string", pack([POSITIONED_VERSION, [1, NOW, []], [[], []], []])],
    ["a time that is no number", pack([POSITIONED_VERSION, ["n1", "now", []], [[], []], []])],
    ["channels that are no array", positioned(position(1), [item], KEY)],
    ["a key that is no string", positioned(position(1), [item], [1])],
    ["a key without an application", positioned(position(1), [item], ["room"])],
    ["more items than it says", Buffer.concat([positioned(position(1), [item]), item])],
    ["an item that is no array", positioned(position(1), [pack("x")])],
    ["an item without its time", odd(0, one, null)],
    ["an item of another time", odd(0, one, null, "x")],
    ["an item before 1970", odd(0, one, null, -1.5)],
    ["an encoding that does not exist", odd(4, one, null, 1.5)],
    ["a payload that is text", odd(0, "1", null, 1.5)],
    ["meta data that is too short", odd(0, one, [null], 1.5)],
    ["a sender that is no string", odd(0, one, [1, null, null, null, null], 1.5)],
  ])("refuses %s", (_, bytes) => {
    expect(() => decode(bytes as Buffer)).toThrow(/is wrong/);
  });

  it("refuses an envelope cut anywhere, and reads or throws whatever the bytes", () => {
    const whole = positioned([...position(1), ...position(2)], [item, encodeItem(full, NOW)]);
    for (const hears of [() => true, () => false]) {
      for (let end = 0; end < whole.length; end++) {
        expect(() => decode(whole.subarray(0, end), hears)).toThrow();
      }
    }
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.integer({ min: 0, max: 255 }),
        fc.boolean(),
        (at, byte, heard) => {
          const broken = Buffer.from(whole);
          broken[at] = byte;
          try {
            for (const { position } of decode(broken, () => heard).publications) {
              if (position !== undefined) expect(position.offset).toBeGreaterThan(0);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(Error);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe("a publication that cannot be read among others", () => {
  const json = (text: string | Buffer): unknown[] => [0, Buffer.from(text as string), null];
  const meta = (...fields: unknown[]): unknown[] => [0, Buffer.from("1"), fields];
  const bad: [string, unknown[]][] = [
    ["JSON that ends early", json('{"a":')],
    [
      "JSON that closes the frame and forges a sender",
      json('1,"from":{"connection":"x","user":"admin"},"z":2'),
    ],
    ["two strings that look like one", json('"a","from":{"user":"admin"},"z":"b"')],
    ["a control character in a string", json('"a\nb"')],
    ["a string without an end", json('"a\\"')],
    ["no JSON at all", json("")],
    ["a backslash before nothing", json('"\\x"')],
    ["JSON that is not UTF-8", json(Buffer.from([0x22, 0xff, 0x22]))],
    ["JSON that nests too deep", json("[".repeat(65) + "]".repeat(65))],
    ["MessagePack that ends early", [1, Buffer.from([0x81, 0xa1, 0x61]), null]],
    ["two values of MessagePack", [1, Buffer.from([1, 2]), null]],
    ["MessagePack with an extension", [1, Buffer.from([0xd4, 1, 1]), null]],
    ["an encoding that does not exist", [4, Buffer.from("1"), null]],
    ["text that is not UTF-8", [3, Buffer.from([0x61, 0xff]), null]],
    ["a payload that is text", [0, "1", null]],
    ["meta data of another length", meta(null)],
    ["a user without a connection", meta(null, "u", null, null, null)],
    ["an event that is no text", meta("c", null, { deep: ["x"] }, null, null)],
    ["tags of odd length", meta("c", null, null, ["a"], null)],
  ];
  const good = [0, Buffer.from('"good"'), ["c1", "u1", null, null, null]];
  const texts = (publications: readonly (BusPublication | undefined)[]): (string | undefined)[] =>
    publications.map((each) => each && Buffer.from(each.payload.bytes).toString());

  it.each(bad)("%s, is counted and left out, and the others are read", (_, fields) => {
    const flat = [good, fields, good].flatMap((each) => ["main/room", ...each]);
    const passing = decodeEnvelope(pack([2, "n1", NOW, flat]), () => true);
    expect(passing).toMatchObject({ unreadable: 1, unheard: 0, problem: expect.any(Error) as Error });
    expect(texts(passing.publications)).toEqual(['"good"', '"good"']);

    const items = [good, fields, good].map((each) => pack([...each, NOW + 0.5]));
    const kept = decodeEnvelope(
      Buffer.concat([
        encodePositionedHead("n1", NOW, ["main/room"]),
        pack([
          [1, "e1", 7],
          [1, 1, 1],
        ]),
        Buffer.of(0x93),
        ...items,
      ]),
      () => true,
    );
    expect(kept).toMatchObject({
      unreadable: 1,
      publications: [{ position: { offset: 7 } }, { position: { offset: 9 } }],
    });

    const entry = readEntry(Buffer.concat(items), "main/room", "e1", 7, 3);
    expect(entry.unreadable).toBe(1);
    expect(texts(entry.publications)).toEqual(['"good"', undefined, '"good"']);
  });

  it("does not matter where nobody hears it", () => {
    const bytes = pack([2, "n1", NOW, ["main/room", ...json("{"), "main/other", ...good]]);
    const heard = decodeEnvelope(bytes, (key) => key === "main/other");
    expect(heard).toMatchObject({ unreadable: 0, unheard: 1, publications: [{ key: "main/other" }] });
  });

  it("may have a key that is none", () => {
    for (const key of [1, "room", "x".repeat(600), null, ["main/room"]]) {
      const bytes = pack([2, "n1", NOW, [key, ...good, "main/room", ...good]]);
      const { unreadable, publications } = decodeEnvelope(bytes, () => true);
      expect([unreadable, texts(publications)]).toEqual([1, ['"good"']]);
    }
  });

  it("is told from what clients may send, which all is read", () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), fc.boolean(), (text, spaced) => {
        const bytes = Buffer.from(spaced ? ` ${text}\n` : text);
        const envelope = encode(request({ payload: { bytes, encoding: Encoding.json } }));
        expect(decodeEnvelope(envelope, () => true).publications).toHaveLength(1);
      }),
    );
  });
});
