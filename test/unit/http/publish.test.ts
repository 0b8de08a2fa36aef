import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PublishInput } from "../../../src/core/operations.js";
import { channelName } from "../../../src/http/schemas.js";
import { checkChannelName } from "../../../src/core/channel-name.js";
import { StarlingError } from "../../../src/core/errors.js";
import { jsonCodec } from "../../../src/protocols/starling/json-codec.js";
import { Encoding } from "../../../src/encoding/payload.js";
import { harness } from "./api-harness.js";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const error = (code: string, message: string, temporary = false) => ({ error: { code, message, temporary } });
const deep = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

describe("POST /v1/publish", () => {
  it("hands the publication to the node with all its fields", async () => {
    const { call, published } = harness();
    const answer = await call("POST", "/v1/publish", {
      body: { channel: "room", content: { text: "hi" }, event: "chat", tags: { lang: "en" }, exclude: "c1" },
    });
    expect(answer).toMatchObject({ status: 200, json: { channel: "room" } });
    const { payload, ...rest } = published[0]!;
    expect(rest).toEqual({
      app: "main",
      channel: "room",
      event: "chat",
      tags: { lang: "en" },
      exclude: "c1",
    });
    expect([payload.encoding, text(payload.bytes)]).toEqual([Encoding.json, '{"text":"hi"}']);
  });

  it("hands on the id that makes a repetition safe", async () => {
    const { call, published } = harness();
    await call("POST", "/v1/publish", { body: { channel: "room", content: 1, messageId: "m1" } });
    const many = { publications: [{ channel: "room", content: 1, messageId: "m2" }] };
    await call("POST", "/v1/publish-many", { body: many });
    expect(published.map(({ messageId }) => messageId)).toEqual(["m1", "m2"]);
  });

  it("answers with the position where the channel keeps history", async () => {
    const { call } = harness({}, { publish: () => Promise.resolve({ offset: 7, epoch: "e" }) });
    const { json } = await call("POST", "/v1/publish", { body: { channel: "room", content: 1 } });
    expect(json).toEqual({ channel: "room", offset: 7, epoch: "e" });
  });

  it("passes content on byte for byte: large numbers, escapes and __proto__ included", async () => {
    const { call, published } = harness();
    for (const content of [
      "12345678901234567890",
      "1e999",
      "null",
      '""',
      '{"__proto__":{"x":1},"a":1,"a":2}',
      '"\\ud800"',
      '[1, 2 ,\n{"a" : "é"}]',
    ]) {
      const answer = await call("POST", "/v1/publish", { body: `{"channel":"r", "content":${content} }` });
      expect(answer.status).toBe(200);
      expect(text(published.at(-1)!.payload.bytes)).toBe(content);
    }
  });

  it("keeps the content after the request's buffer is reused", async () => {
    const { call, published } = harness();
    const body = Buffer.from('{"channel":"r","content":"abc"}');
    await call("POST", "/v1/publish", { body });
    expect(published[0]!.payload.bytes.buffer.byteLength).toBe(5);
  });

  it("takes bytes as base64", async () => {
    const { call, published } = harness();
    await call("POST", "/v1/publish", { body: { channel: "room", contentBase64: "AAH/" } });
    expect(published[0]!.payload).toEqual({ bytes: Buffer.from([0, 1, 255]), encoding: Encoding.binary });
  });

  it("publishes to a user, and refuses names that begin with # and reach nobody", async () => {
    const { call, published } = harness();
    const channel = "#user:42";
    expect((await call("POST", "/v1/publish", { body: { channel, content: 1 } })).status).toBe(200);
    const typo = { channel: "#usr:42", content: 1 };
    const refused = error(
      "forbidden",
      'channel "#usr:42" cannot be published to: of the names that begin with #, only #user:<user> can',
    );
    expect(await call("POST", "/v1/publish", { body: typo })).toMatchObject({ status: 403, json: refused });
    const many = await call("POST", "/v1/publish-many", { body: { publications: [typo] } });
    expect(many.json).toEqual({ results: [refused] });
    expect(published.map((item) => item.channel)).toEqual([channel]);
  });

  it("takes content 64 deep and refuses what is deeper, 100,000 included", async () => {
    const { call, published } = harness();
    const publish = (depth: number) =>
      call("POST", "/v1/publish", { body: `{"channel":"r","content":${deep(depth)}}` });
    expect((await publish(64)).status).toBe(200);
    for (const depth of [65, 100_000]) {
      expect(await publish(depth)).toMatchObject({
        status: 400,
        json: error("bad_request", `content is nested ${depth} levels deep, at most 64 are allowed`),
      });
    }
    expect(published).toHaveLength(1);
    // Deep where something else belongs: shown by kind, not by value.
    const answer = await call("POST", "/v1/publish", { body: `{"content":1,"channel":${deep(100_000)}}` });
    expect(answer.json).toEqual(error("bad_request", '"channel" must be a string, not an array of 1'));
  });

  it("refuses content over the limit, however it is given", async () => {
    const { call, published } = harness({ maxContentBytes: 10 });
    expect((await call("POST", "/v1/publish", { body: { channel: "r", content: "12345678" } })).status).toBe(
      200,
    );
    for (const body of [
      { channel: "r", content: "123456789" },
      { channel: "r", contentBase64: Buffer.alloc(11).toString("base64") },
    ]) {
      expect(await call("POST", "/v1/publish", { body })).toMatchObject({
        status: 413,
        json: error("too_large", "content has 11 bytes, at most 10 are allowed"),
      });
    }
    expect(published).toHaveLength(1);
  });

  it.each<[unknown, string]>([
    [{ content: 1 }, '"channel" is missing: it must be a string'],
    [{ channel: 5, content: 1 }, '"channel" must be a string, not 5'],
    [{ channel: "r", content: 1, chanel: "x" }, 'unknown field "chanel": did you mean "channel"?'],
    [{ chanel: "r", content: 1 }, 'unknown field "chanel": did you mean "channel"?'],
    [
      { channel: "r", content: 1, priority: 1 },
      'unknown field "priority": allowed are channel, content, contentBase64, event, tags, exclude',
    ],
    [{ channel: "r" }, 'give either "content" or "contentBase64"'],
    [{ channel: "r", content: null, contentBase64: "" }, 'give either "content" or "contentBase64"'],
    [
      { channel: "r", contentBase64: "a-_b" },
      '"contentBase64" must be padded base64 (A-Z a-z 0-9 + /), not "a-_b"',
    ],
    [
      { channel: "r", content: 1, event: "e".repeat(201) },
      '"event" has 201 characters, at most 200 are allowed',
    ],
    [{ channel: "r", content: 1, exclude: "" }, '"exclude" has 0 characters, at least 1 is needed'],
    [{ channel: "r", content: 1, tags: { a: 1 } }, '"tags.a" must be a string, not 1'],
    [{ channel: "r", content: 1, tags: ["a"] }, '"tags" must be an object of strings, not an array of 1'],
    [
      {
        channel: "r",
        content: 1,
        tags: Object.fromEntries([...Array(17).keys()].map((i) => [`t${i}`, "x"])),
      },
      '"tags" has more than 16 entries',
    ],
    [
      '{"channel":"r","content":1,"tags":{"__proto__":"x"}}',
      '"tags" has the key "__proto__", which is not allowed',
    ],
    ['{"channel":"r","content":1,"__proto__":{}}', 'unknown field "__proto__": allowed are channel'],
    ["[]", "the body must be an object, not an array of 0"],
    ["null", "the body must be an object, not null"],
    ["{", "the body is not JSON: "],
    ["", "the body is empty: a JSON object is expected"],
    [Buffer.from([0x22, 0xff, 0x22]), "the body is not UTF-8"],
    ["\ufeff{}", "the body is not JSON: "],
  ])("refuses %j", async (body, message) => {
    const { call, published } = harness();
    const answer = await call("POST", "/v1/publish", { body });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ error: { code: "bad_request", temporary: false } });
    expect((answer.json as { error: { message: string } }).error.message).toContain(message);
    expect(published).toHaveLength(0);
  });

  it("answers a bad channel name in the grammar's own words", async () => {
    const { call } = harness();
    const answer = await call("POST", "/v1/publish", { body: { channel: "a b", content: 1 } });
    expect(answer).toMatchObject({ status: 400, json: { error: { code: "bad_channel" } } });
    expect((answer.json as { error: { message: string } }).error.message).toContain(
      'channel "a b" has " " at 1',
    );
  });

  it("has the same grammar for channels as the sockets", () => {
    const name = fc.oneof(
      fc.string({ unit: "binary-ascii", maxLength: 3 }),
      fc.string({ maxLength: 300 }),
      fc.string({ unit: "binary", maxLength: 140 }).map((user) => `#user:${user}`),
    );
    fc.assert(
      fc.property(name, (candidate) => {
        let allowed = true;
        try {
          checkChannelName(candidate);
        } catch {
          allowed = false;
        }
        expect(channelName.safeParse(candidate).success).toBe(allowed);
      }),
      { numRuns: 2000 },
    );
  });

  it("has the same limits for event and tags as the sockets", async () => {
    const { call } = harness();
    const tags = (count: number, length: number) =>
      Object.fromEntries(
        [...Array(count).keys()].map((i) => [String(i).padEnd(length, "k"), "v".repeat(length)]),
      );
    for (const [fields, allowed] of [
      [{ event: "e".repeat(200), tags: tags(16, 128) }, true],
      [{ event: "e".repeat(201) }, false],
      [{ tags: tags(17, 2) }, false],
      [{ tags: tags(1, 129) }, false],
      [{ event: "😀", tags: { "😀": "😀" } }, true],
      [{ event: "\ud83d" }, false],
      [{ tags: { k: "\ude00" } }, false],
      [{ tags: { "\ude00": "v" } }, false],
      [{ messageId: "a\ude00" }, false],
    ] as const) {
      const body = { channel: "r", content: 1, ...fields };
      expect((await call("POST", "/v1/publish", { body })).status === 200).toBe(allowed);
      const decode = () => jsonCodec.decode(Buffer.from(JSON.stringify({ action: "send", ...body })));
      if (allowed) expect(decode).not.toThrow();
      else expect(decode).toThrow(StarlingError);
    }
  });

  it("passes the bus's own errors on, with when to come back", async () => {
    for (const [code, status, retryAfter] of [
      ["unavailable", 503, "3"],
      ["outcome_unknown", 504, undefined],
      ["rate_limited", 429, "3"],
      ["forbidden", 403, undefined],
    ] as const) {
      const failure = new StarlingError(code, "why", { retryAfterMs: 2500 });
      const { call } = harness({}, { publish: () => Promise.reject(failure) });
      const answer = await call("POST", "/v1/publish", { body: { channel: "r", content: 1 } });
      expect(answer).toMatchObject({ status, json: error(code, "why", code !== "forbidden") });
      expect(answer.headers["retry-after"]).toBe(retryAfter);
    }
  });
});

describe("POST /v1/publish-many", () => {
  it("publishes in order, and a bad item does not fail the others", async () => {
    const { call, published } = harness({ maxContentBytes: 20 });
    const answer = await call("POST", "/v1/publish-many", {
      body: `{"publications":[ {"channel":"a","content":1},5,{"channel":"b c","content":1},
        {"channel":"d","content":${deep(100_000)}},{"channel":"e","content":"${"x".repeat(30)}"},
        {"content":[ 2 ],"channel":"f"} , {"channel":"a","content":9007199254740993}]}`,
    });
    expect(answer.status).toBe(200);
    const { results } = answer.json as { results: { channel?: string; error?: { code: string } }[] };
    expect(results.map((result) => result.channel ?? result.error?.code)).toEqual([
      "a",
      "bad_request",
      "bad_channel",
      "bad_request",
      "too_large",
      "f",
      "a",
    ]);
    expect(published.map(({ channel, payload }) => [channel, text(payload.bytes)])).toEqual([
      ["a", "1"],
      ["f", "[ 2 ]"],
      ["a", "9007199254740993"],
    ]);
  });

  it("queues every item within one turn", async () => {
    const published: PublishInput[] = [];
    let withinTurn = 0;
    const publish = (input: PublishInput): Promise<undefined> => {
      if (published.push(input) === 1) queueMicrotask(() => (withinTurn = published.length));
      return Promise.resolve(undefined);
    };
    const body = { publications: [...Array(1000).keys()].map((i) => ({ channel: "a", content: i })) };
    const { status } = await harness({}, { publish }).call("POST", "/v1/publish-many", { body });
    expect([status, withinTurn]).toEqual([200, 1000]);
    expect(published.map(({ payload }) => Number(text(payload.bytes)))).toEqual([...Array(1000).keys()]);
  });

  it("tells the failures of the bus item by item", async () => {
    let turn = 0;
    const publish = () =>
      turn++ === 0
        ? Promise.resolve({ offset: 1, epoch: "e" })
        : Promise.reject(new StarlingError("unavailable", "the message bus is unreachable"));
    const { call } = harness({}, { publish });
    const publications = [
      { channel: "a", content: 1 },
      { channel: "b", content: 1 },
    ];
    expect((await call("POST", "/v1/publish-many", { body: { publications } })).json).toEqual({
      results: [
        { channel: "a", offset: 1, epoch: "e" },
        error("unavailable", "the message bus is unreachable", true),
      ],
    });
  });

  it.each([
    [{ publications: [] }, '"publications" has 0 items, at least 1 is needed'],
    [
      { publications: Array(1001).fill({ channel: "a", content: 1 }) },
      '"publications" has 1001 items, at most 1000 are allowed',
    ],
    [{ publications: {} }, '"publications" must be an array, not an object'],
    [{}, '"publications" is missing: it must be an array'],
    [{ publication: [] }, 'unknown field "publication": did you mean "publications"?'],
  ])("refuses %#", async (body, message) => {
    const { call, published } = harness();
    expect(await call("POST", "/v1/publish-many", { body })).toMatchObject({
      status: 400,
      json: error("bad_request", message),
    });
    expect(published).toHaveLength(0);
  });
});
