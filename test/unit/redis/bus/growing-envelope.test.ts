/**
 * Envelopes and items between versions: what brings nothing new is written byte for byte as it was, and what is new and
 * unknown is skipped wherever it may stand.
 */

import fc from "fast-check";
import { pack } from "msgpackr";
import { describe, expect, it } from "vitest";

import type { BusPublication, PublishRequest } from "../../../../src/core/broker.js";
import type { PublicationExtras } from "../../../../src/core/extras.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { decodeEnvelope, readEntry } from "../../../../src/redis/bus/envelope-reader.js";
import { encodeEnvelope, encodeItems, encodePositionedHead } from "../../../../src/redis/bus/envelope.js";
import { FORMAT, FORMAT_BEFORE } from "../../../../src/redis/link/fleet-format.js";

const NOW = 1_700_000_000_123;
const KEY = "main/room";
const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const plain: PublishRequest = {
  key: KEY,
  payload: { bytes: Buffer.from('"hi"'), encoding: Encoding.json },
  from: undefined,
  event: undefined,
  tags: undefined,
  exclude: undefined,
  settle: () => undefined,
};
const sent: PublishRequest = {
  ...plain,
  payload: { bytes: Buffer.from([0x81, 0xa1, 0x61, 1]), encoding: Encoding.msgpack },
  from: { connection: "c1", user: "ü 42" },
};
const full: PublishRequest = {
  ...plain,
  key: "shop/orders",
  payload: { bytes: Buffer.from([0, 255]), encoding: Encoding.binary },
  from: { connection: "c1", user: "u1" },
  event: "created",
  tags: { region: "eu", ["__proto__"]: "x" },
  exclude: "c1",
};

const all = (): boolean => true;
const flat = (bytes: Buffer): ReturnType<typeof decodeEnvelope> => decodeEnvelope(bytes, all);

/** As lua/history-append.lua puts them together: all of one channel, from offset 7 on. */
function positioned(items: readonly Uint8Array[], head = encodePositionedHead("n1", NOW, [KEY])): Buffer {
  const places = [[1, "e1", 7], items.map(() => 1)];
  return Buffer.concat([head, pack(places), Buffer.from([0xdd, 0, 0, 0, items.length]), ...items]);
}

describe("what brings nothing new", () => {
  // Of the version before extras.
  const ENVELOPE =
    "9402a26e31cb4278bcfe5687b000dc0010a96d61696e2f726f6f6d00c40422686922c0a96d61696e2f726f6f6d01c40481a1610195a26331" +
    "a5c3bc203432c0c0c0a96d61696e2f726f6f6d01c40481a1610195a26331a5c3bc203432c0c0c0ab73686f702f6f726465727302c40200ff" +
    "95a26331a27531a76372656174656494a6726567696f6ea26575a95f5f70726f746f5f5fa178a26331";
  const ITEMS =
    "9400c40422686922c0cb4278bcfe5687b0009401c40481a1610195a26331a5c3bc203432c0c0c0cb4278bcfe5687b0009401c40481a16101" +
    "95a26331a5c3bc203432c0c0c0cb4278bcfe5687b0009402c40200ff95a26331a27531a76372656174656494a6726567696f6ea26575a95f" +
    "5f70726f746f5f5fa178c0cb4278bcfe5687b000";
  const HEAD = "940493a26e31cb4278bcfe5687b00092a96d61696e2f726f6f6dab73686f702f6f7264657273";

  it.each([FORMAT_BEFORE, FORMAT])("is written as ever where the fleet reads format %d", (format) => {
    const requests = [plain, sent, { ...sent, extras: {} }, { ...full, extras: undefined }];
    expect(encodeEnvelope("n1", NOW, requests, format).toString("hex")).toBe(ENVELOPE);
    const kept = [plain, sent, sent, { ...full, exclude: undefined }];
    expect(Buffer.from(encodeItems(kept, NOW, format).bytes).toString("hex")).toBe(ITEMS);
    expect(encodePositionedHead("n1", NOW, [KEY, full.key]).toString("hex")).toBe(HEAD);
  });

  it("is written as ever where older nodes are in the fleet, whatever it brings", () => {
    const extras = { trace: TRACE, info: "{}", sequence: 1 };
    const text = { ...plain, payload: { bytes: Buffer.from("hi"), encoding: Encoding.text } };
    const requests = [text, sent, sent, full].map((request) => ({ ...request, extras }));
    expect(encodeEnvelope("n1", NOW, requests, FORMAT_BEFORE).toString("hex")).toBe(ENVELOPE);
  });

  it("of older nodes is read", () => {
    const envelope = flat(Buffer.from(ENVELOPE, "hex"));
    expect(envelope).toMatchObject({ node: "n1", openedAtMs: NOW, unreadable: 0, unheard: 0 });
    expect(envelope.publications.map(({ key, payload }) => [key, payload.encoding])).toEqual(
      [plain, sent, sent, full].map(({ key, payload }) => [key, payload.encoding]),
    );
    expect(envelope.publications[3]).toMatchObject({ from: full.from, event: "created", exclude: "c1" });
    expect(Object.entries(envelope.publications[3]!.tags!)).toEqual(Object.entries(full.tags!));
    const entry = readEntry(Buffer.from(ITEMS, "hex"), KEY, "e1", 1, 4);
    expect(entry.publications.map((each) => each?.from)).toEqual([
      undefined,
      sent.from,
      sent.from,
      full.from,
    ]);
  });
});

describe("extras and texts", () => {
  const EXTRAS: readonly PublicationExtras[] = [
    { trace: TRACE },
    { trace: `${TRACE}-${"x".repeat(256 - 56)}` },
    { info: '{"name":"Ann","n":1}' },
    { info: JSON.stringify("x".repeat(1022)) },
    { sequence: 0 },
    { sequence: Number.MAX_SAFE_INTEGER },
    { trace: TRACE, info: "null", sequence: 4_294_967_296 },
  ];

  it("come back as they were given, in envelopes and in history", () => {
    const payload = { bytes: Buffer.from("no JSON, ü"), encoding: Encoding.text };
    // One sender: what is kept of the last meta data must not stick.
    const requests = [sent, ...EXTRAS.map((extras) => ({ ...sent, payload, extras })), sent, plain];
    const given = [undefined, ...EXTRAS, undefined, undefined];
    const expected = requests.map((each, i) => ({
      payload: each.payload,
      from: each.from,
      extras: given[i],
    }));
    const seen = (publications: readonly (BusPublication | undefined)[]): unknown =>
      publications.map((each) => ({ payload: each?.payload, from: each?.from, extras: each?.extras }));

    expect(seen(flat(encodeEnvelope("n1", NOW, requests, FORMAT)).publications)).toEqual(expected);
    const { bytes } = encodeItems(requests, NOW, FORMAT);
    const entry = Buffer.from(bytes);
    expect(seen(readEntry(entry, KEY, "e1", 1, requests.length).publications)).toEqual(expected);
  });

  const withExtras = (...extras: unknown[]): unknown[] => [null, null, null, null, null, extras];
  it.each<[string, unknown[]]>([
    ["extras that are no list", [null, null, null, null, null, "x"]],
    ["half an extra", withExtras(1)],
    ["a number of an extra that is text", withExtras("trace", TRACE)],
    ["a negative number of an extra", withExtras(-1, TRACE)],
    ["a trace that is no text", withExtras(1, 7)],
    ["a trace that is none", withExtras(1, "x".repeat(55))],
    ["a trace of 257 characters", withExtras(1, `${TRACE}-${"x".repeat(257 - 56)}`)],
    ["two traces", withExtras(1, TRACE, 1, TRACE)],
    ["info that is no text", withExtras(2, { name: "Ann" })],
    ["info that is no JSON", withExtras(2, '{"name":')],
    ["info that closes the frame it is put into", withExtras(2, '1,"user":"admin"')],
    ["info over 1 kB", withExtras(2, JSON.stringify("x".repeat(1023)))],
    ["a sequence that is text", withExtras(3, "1")],
    ["a negative sequence", withExtras(3, -1)],
    ["half a sequence", withExtras(3, 0.5)],
    ["a sequence past what numbers count", withExtras(3, 2n ** 53n)],
    ["two sequences", withExtras(3, 1, 3, 2)],
  ])("%s: costs that publication alone", (_, meta) => {
    const good = [0, Buffer.from('"good"'), withExtras(3, 5)];
    const bad = [0, Buffer.from('"bad"'), meta];
    const passing = flat(pack([2, "n1", NOW, [good, bad, good].flatMap((each) => [KEY, ...each])]));
    const items = [good, bad, good].map((each) => pack([...each, NOW + 0.5]));
    const kept = flat(positioned(items));
    for (const { unreadable, problem, publications } of [passing, kept]) {
      expect(unreadable).toBe(1);
      expect(problem).toBeInstanceOf(Error);
      expect(String(problem)).toMatch(/is wrong|is no|is 9007|at most|whole numbers/);
      expect(publications.map(({ extras }) => extras?.sequence)).toEqual([5, 5]);
    }
    const entry = readEntry(Buffer.concat(items), KEY, "e1", 7, 3);
    expect(entry.publications.map((each) => each?.extras?.sequence)).toEqual([5, undefined, 5]);
  });
});

/** Any value that a later version might put somewhere. */
const unknown = fc.anything({
  maxDepth: 3,
  maxKeys: 20,
  values: [
    fc.string({ unit: "grapheme", maxLength: 40 }),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  ],
});
const more = fc.array(unknown, { maxLength: 20 });
const unknownExtras = fc
  .array(fc.tuple(fc.integer({ min: 4, max: 2 ** 32 - 1 }), unknown), { maxLength: 5 })
  .map((pairs) => pairs.flat());

const optionalText = fc.option(fc.string({ unit: "grapheme", maxLength: 40 }), { nil: undefined });
const request: fc.Arbitrary<PublishRequest> = fc
  .record({
    payload: fc.oneof(
      fc.json().map((text) => ({ bytes: Buffer.from(text), encoding: Encoding.json })),
      fc.string({ unit: "grapheme" }).map((text) => ({ bytes: Buffer.from(text), encoding: Encoding.text })),
      fc.uint8Array().map((bytes) => ({ bytes: Buffer.from(bytes), encoding: Encoding.binary })),
    ),
    from: fc.option(fc.record({ connection: fc.string({ minLength: 1 }) }), { nil: undefined }),
    event: optionalText,
    tags: fc.option(fc.dictionary(fc.string(), fc.string(), { maxKeys: 16 }), { nil: undefined }),
    exclude: optionalText,
    extras: fc.option(
      fc.record(
        {
          trace: fc.constant(TRACE),
          info: fc.json({ maxDepth: 1 }).filter((json) => json.length < 300),
          sequence: fc.nat(2 ** 32 - 1),
        },
        { requiredKeys: [] },
      ),
      { nil: undefined },
    ),
  })
  .map((fields) => ({ ...plain, ...fields }));

/** As a later version would write it: with more behind, and among, all that is known. */
function grown({ payload, from, event, tags, exclude, extras }: PublishRequest, added: Added): unknown[] {
  const known = [
    ...(extras?.trace === undefined ? [] : [1, extras.trace]),
    ...(extras?.info === undefined ? [] : [2, extras.info]),
    ...(extras?.sequence === undefined ? [] : [3, extras.sequence]),
  ];
  const meta = [
    from?.connection ?? null,
    from?.user ?? null,
    event ?? null,
    tags === undefined ? null : Object.entries(tags).flat(),
    exclude ?? null,
    [...added.extras, ...known, ...added.extras],
    ...added.meta,
  ];
  return [payload.encoding, Buffer.from(payload.bytes), meta];
}

interface Added {
  readonly outer: unknown[];
  readonly head: unknown[];
  readonly item: unknown[];
  readonly meta: unknown[];
  readonly extras: unknown[];
}
const added: fc.Arbitrary<Added> = fc.record({
  outer: more,
  head: more,
  item: more,
  meta: more,
  extras: unknownExtras,
});

const told = (publications: readonly (BusPublication | undefined)[]): unknown =>
  publications.map((each) => {
    const { payload, from, event, tags, exclude, extras, position } = each!;
    const given = extras === undefined ? {} : extras;
    const bytes = Buffer.from(payload.bytes).toString("hex");
    return JSON.stringify([
      bytes,
      payload.encoding,
      from,
      event,
      Object.entries(tags ?? {}),
      exclude,
      given,
      position,
    ]);
  });

describe("fields that are unknown here", () => {
  it("change nothing, wherever they stand", () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 4 }), added, (requests, extra) => {
        const fields = requests.map((each) => grown(each, extra));
        const later = flat(pack([2, "n1", NOW, fields.flatMap((each) => [KEY, ...each]), ...extra.outer]));
        const now = flat(encodeEnvelope("n1", NOW, requests, FORMAT));
        expect(later.unreadable).toBe(0);
        expect(told(later.publications)).toEqual(told(now.publications));

        const items = fields.map((each) => pack([...each, NOW + 0.5, ...extra.item]));
        const { bytes, lengths } = encodeItems(requests, NOW + 0.5, FORMAT);
        const written = Buffer.from(bytes);
        let at = 0;
        const itemsNow = lengths.map((length) => written.subarray(at, (at += length)));
        const head = pack([4, ["n1", NOW, [KEY], ...extra.head]]);
        // Two of the envelope's four fields are in the head; positions and items follow.
        head[0] = 0x94;
        const positionedLater = flat(positioned(items, head));
        expect(positionedLater.unreadable).toBe(0);
        expect(told(positionedLater.publications)).toEqual(told(flat(positioned(itemsNow)).publications));
        const entryLater = readEntry(Buffer.concat(items), KEY, "e1", 1, items.length);
        const entryNow = readEntry(written, KEY, "e1", 1, items.length);
        expect(told(entryLater.publications)).toEqual(told(entryNow.publications));
      }),
    );
  });

  it("may stand behind the items of a positioned envelope", () => {
    const { bytes } = encodeItems([sent], NOW, FORMAT);
    const envelope = positioned([Buffer.from(bytes)]);
    const longer = Buffer.concat([envelope, pack({ later: ["x"] }), pack(1)]);
    longer[0] = 0x96;
    expect(told(flat(longer).publications)).toEqual(told(flat(envelope).publications));
    longer[0] = 0x95;
    expect(() => flat(longer)).toThrow("the end is wrong");
  });

  it("are skipped where nobody hears the channel", () => {
    const fields = grown(full, { outer: [], head: [], item: [], meta: ["x", [1]], extras: [9, { a: 1 }] });
    const bytes = pack([2, "n1", NOW, [KEY, ...fields, full.key, ...fields], "outer"]);
    const { unheard, publications } = decodeEnvelope(bytes, (key) => key === full.key);
    expect([unheard, publications.map(({ event }) => event)]).toEqual([1, ["created"]]);
  });
});

describe("hostile fields", () => {
  const good = grown(sent, { outer: [], head: [], item: [], meta: [], extras: [] });

  it("cost the item they stand in, and never more than a walk over the bytes", () => {
    const large = Buffer.alloc(1_000_000, 0x91);
    const deep = Buffer.concat([large, Buffer.of(1)]);
    const started = performance.now();
    for (const at of [0, 1, 2, 3, 4, 5]) {
      const meta: unknown[] = [null, null, null, null, null, null];
      meta[at] = "PLACE";
      const item = pack([0, Buffer.from("1"), meta, NOW + 0.5]);
      const place = item.indexOf(pack("PLACE"));
      const hostile = Buffer.concat([item.subarray(0, place), deep, item.subarray(place + 6)]);
      const around = pack([...good, NOW + 0.5]);
      const { unreadable, publications } = flat(positioned([around, hostile, around]));
      expect([unreadable, publications.map(({ position }) => position?.offset)]).toEqual([1, [7, 9]]);
    }
    // A look at each byte takes a few ms; a busy machine a hundred times as long.
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it("cost little where there are as many as fit", () => {
    const count = 200_000;
    const started = performance.now();
    const items = Buffer.concat([Buffer.of(0xdd, 0, 0x03, 0x0d, 0x40), Buffer.alloc(count, 0xc0)]);
    const numbers = Buffer.concat([Buffer.of(0xdd, 0, 0x03, 0x0d, 0x40), Buffer.alloc(count, 1)]);
    const places = Buffer.concat([Buffer.of(0x92), pack([1, "e1", 1]), numbers]);
    const bytes = Buffer.concat([encodePositionedHead("n1", NOW, [KEY]), places, items]);
    expect(flat(bytes)).toMatchObject({ publications: [], unreadable: count });
    // A microsecond each; with the stack of each error it would be ten.
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it("are read or refused by an error, whatever the bytes, and what cannot be is counted", () => {
    const requests = [sent, { ...full, key: KEY, extras: { trace: TRACE, info: "[1]", sequence: 7 } }, plain];
    const items = requests.map((each) => Buffer.from(encodeItems([each], NOW, FORMAT).bytes));
    const wholes = [encodeEnvelope("n1", NOW, requests, FORMAT), positioned(items)];
    const changes = fc.array(
      fc.record({
        at: fc.nat(400),
        // Heads of containers, texts, numbers and what MessagePack has besides.
        byte: fc.oneof(
          fc.integer({ min: 0, max: 255 }),
          fc.constantFrom(0x90, 0x9f, 0xc0, 0xc1, 0xc6, 0xcf, 0xd9, 0xdb, 0xdd, 0xdf),
        ),
        cut: fc.nat(3),
      }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(fc.constantFrom(0, 1), changes, (which, edits) => {
        let bytes: Buffer = Buffer.from(wholes[which]!);
        for (const { at, byte, cut } of edits) {
          const place = at % bytes.length;
          // Replaced, repeated, or cut out.
          bytes = Buffer.concat([bytes.subarray(0, place), Buffer.of(byte), bytes.subarray(place + cut)]);
        }
        try {
          const { publications, unreadable, unheard } = flat(bytes);
          expect(unheard).toBe(0);
          expect(publications.length + unreadable).toBeLessThanOrEqual(bytes.length);
          for (const { key, extras } of publications) {
            expect(key).toContain("/");
            if (extras?.sequence !== undefined) expect(Number.isSafeInteger(extras.sequence)).toBe(true);
            if (extras?.info !== undefined) JSON.parse(extras.info);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect(String(error)).toMatch(/is wrong|is unknown|at byte \d+/);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it("of one item do not void its neighbours, wherever it is changed", () => {
    const item = Buffer.from(encodeItems([{ ...full, extras: { trace: TRACE } }], NOW, FORMAT).bytes);
    const around = Buffer.from(encodeItems([sent], NOW, FORMAT).bytes);
    const payloadEnd = item.indexOf(Buffer.of(0x96));
    fc.assert(
      fc.property(fc.nat(item.length - 1), unknown, (at, value) => {
        // One value more or another in the place of a value: the item still ends where it ends.
        const put = pack(value);
        const broken =
          at < payloadEnd ? pack([put, ...[1, 2, 3]]) : pack([0, Buffer.from("1"), [value], NOW]);
        const { publications, unreadable } = flat(positioned([around, broken, around]));
        expect(unreadable).toBe(1);
        expect(publications.map(({ position }) => position?.offset)).toEqual([7, 9]);
      }),
    );
  });
});
