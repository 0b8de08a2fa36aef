import { describe, expect, it } from "vitest";
import type { BusPublication } from "../../../src/core/broker.js";
import { StarlingError } from "../../../src/core/errors.js";
import { Encoding, type Payload } from "../../../src/encoding/payload.js";
import { jsonToMsgpack } from "../../../src/encoding/transcode.js";
import { harness } from "./api-harness.js";

const json = (text: string): Payload => ({ bytes: Buffer.from(text), encoding: Encoding.json });

function kept(offset: number, payload: Payload, fields: Partial<BusPublication> = {}): BusPublication {
  return {
    key: "main/chat:1",
    payload,
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    position: { offset, epoch: "e" },
    publishedAtMs: 1,
    ...fields,
  };
}

function holding(...publications: BusPublication[]) {
  const top = { offset: publications.length, epoch: "e" };
  return harness({}, { history: () => Promise.resolve({ publications, top }) });
}

describe("GET /v1/channels/{channel}/history", () => {
  it("gives publications with all their fields, and where the channel stands", async () => {
    const from = { connection: "c1", user: "42" };
    const { call } = holding(
      kept(1, json('{"text":"hi"}'), { from, event: "said", tags: { lang: "en" } }),
      kept(2, { bytes: Uint8Array.of(0, 1, 2), encoding: Encoding.binary }),
      kept(3, { bytes: jsonToMsgpack(Buffer.from('[1,"two",null]')), encoding: Encoding.msgpack }),
    );
    expect(await call("GET", "/v1/channels/chat%3A1/history")).toMatchObject({
      status: 200,
      json: {
        channel: "chat:1",
        publications: [
          { content: { text: "hi" }, offset: 1, epoch: "e", from, event: "said", tags: { lang: "en" } },
          { contentBase64: "AAEC", offset: 2, epoch: "e" },
          { content: [1, "two", null], offset: 3, epoch: "e" },
        ],
        offset: 3,
        epoch: "e",
      },
    });
  });

  it("gives content as it came in: numbers that JavaScript cannot hold are not rounded", async () => {
    const { call } = holding(kept(1, json("[12345678901234567890, 1.0]")));
    const { body } = await call("GET", "/v1/channels/chat:1/history");
    expect(body).toContain('{"content":[12345678901234567890, 1.0],"offset":1,"epoch":"e"}');
  });

  it("says more where the page is full, be it the store's or the answer's", async () => {
    const large = (offset: number) => kept(offset, json(JSON.stringify("x".repeat(600_000))));
    const { call } = holding(large(1), large(2), large(3));
    const { json: page } = await call("GET", "/v1/channels/chat:1/history");
    expect(page).toMatchObject({ publications: [{ offset: 1 }], offset: 3, more: true });
    const { call: callFull } = harness(
      {},
      {
        history: () =>
          Promise.resolve({ publications: [kept(1, json("1"))], top: { offset: 2, epoch: "e" }, more: true }),
      },
    );
    expect((await callFull("GET", "/v1/channels/chat:1/history")).json).toMatchObject({ more: true });
  });

  it("keeps content harmless where someone pastes it into a page", async () => {
    const { call } = holding(kept(1, json('"</script><script>\u2028"'), { event: "<b>" }));
    const answer = await call("GET", "/v1/channels/chat:1/history");
    expect(answer.body).not.toMatch(/[<>\u2028]/);
    expect(answer.json).toMatchObject({
      publications: [{ content: "</script><script>\u2028", event: "<b>" }],
    });
  });

  it("reads only the payload's part of a larger buffer", async () => {
    const bytes = Buffer.from('xx"mine"xx').subarray(2, 8);
    const { call } = holding(kept(1, { bytes, encoding: Encoding.json }));
    const answer = await call("GET", "/v1/channels/chat:1/history");
    expect(answer.json).toMatchObject({ publications: [{ content: "mine" }] });
  });

  it.each<[string, object]>([
    ["", { since: undefined, limit: 100, reverse: false }],
    ["?limit=0&reverse=true", { since: undefined, limit: 0, reverse: true }],
    [
      "?since_offset=123456789012345&since_epoch=e%2B1&limit=1000&reverse=false",
      { since: { offset: 123_456_789_012_345, epoch: "e+1" }, limit: 1000, reverse: false },
    ],
  ])("reads %j as what to read", async (query, range) => {
    const { call, calls } = harness();
    const answer = await call("GET", `/v1/channels/chat:1/history${query}`);
    expect(answer.json).toEqual({ channel: "chat:1", publications: [], offset: 0, epoch: "e", more: false });
    expect(calls).toEqual([["history", "main", "chat:1", { ...range, maxBytes: 1_048_576 }]]);
  });

  it.each([
    ["?limit=1001", '"limit" is 1001, at most 1000 are allowed'],
    ["?limit=-1", '"limit" is -1, at least 0 are needed'],
    ["?limit=many", '"limit" must be'],
    ["?reverse=yes", '"reverse" must be true or false, not "yes"'],
    ["?since_offset=1", 'give "since_offset" and "since_epoch" together'],
    ["?since_epoch=e", 'give "since_offset" and "since_epoch" together'],
    ["?since_offset=-1&since_epoch=e", '"since_offset" is -1'],
    ["?since_offset=1.5&since_epoch=e", '"since_offset" must be'],
    ["?since_offset=9999999999999999&since_epoch=e", '"since_offset" must be'],
    ["?since_offset=1&since_epoch=", '"since_epoch" has 0 characters'],
    [`?since_offset=1&since_epoch=${"e".repeat(65)}`, '"since_epoch" has 65 characters, at most 64'],
    ["?sinceoffset=1", 'did you mean \\"since_offset\\"?'],
  ])("refuses %s, saying why", async (query, message) => {
    const { call, calls } = harness();
    const answer = await call("GET", `/v1/channels/chat:1/history${query}`);
    expect(answer).toMatchObject({ status: 400, json: { error: { code: "bad_request" } } });
    expect((answer.json as { error: { message: string } }).error.message).toContain(
      message.replaceAll('\\"', '"'),
    );
    expect(calls).toEqual([]);
  });

  it("refuses a name that is none", async () => {
    const answer = await harness().call("GET", "/v1/channels/a%20b/history");
    expect(answer).toMatchObject({ status: 400, json: { error: { code: "bad_channel" } } });
  });
});

describe("GET /v1/channels/{channel}/presence", () => {
  it("gives the members, anonymous ones without a user, what they show, and the counts", async () => {
    const { call, calls } = harness();
    const { status, json, body } = await call("GET", "/v1/channels/chat:1/presence?limit=5");
    expect(status).toBe(200);
    expect(json).toEqual({
      channel: "chat:1",
      members: [
        { connection: "c1", user: "42", info: JSON.parse('{"name":"<Ann>","__proto__":1}') as unknown },
        { connection: "c2" },
      ],
      connections: 3,
      users: 2,
    });
    expect(body).not.toContain("<");
    await call("GET", "/v1/channels/chat:1/presence");
    expect(calls).toEqual([
      ["presence", "main", "chat:1", 5],
      ["presence", "main", "chat:1", 100],
    ]);
    expect((await call("GET", "/v1/channels/chat:1/presence?limit=1001")).status).toBe(400);
  });
});

describe("GET /v1/channels/{channel}/presence-stats", () => {
  it("gives the counts", async () => {
    const { call, calls } = harness();
    const answer = await call("GET", "/v1/channels/chat:1/presence-stats");
    expect(answer).toMatchObject({ status: 200, json: { channel: "chat:1", connections: 3, users: 2 } });
    expect(calls).toEqual([["presenceStats", "main", "chat:1"]]);
  });
});

describe("what a channel does not keep", () => {
  it.each(["history", "presence", "presence-stats"])("is answered with 409 at %s", async (path) => {
    const refuse = () => Promise.reject(new StarlingError("not_enabled", "channel keeps none"));
    const { call } = harness({}, { history: refuse, presence: refuse, presenceStats: refuse });
    const answer = await call("GET", `/v1/channels/room/${path}`);
    const error = { code: "not_enabled", message: "channel keeps none", temporary: false };
    expect([answer.status, answer.json]).toEqual([409, { error }]);
  });

  it.each([
    ["unavailable", 503],
    ["outcome_unknown", 504],
  ] as const)("is told apart from a bus that is away: %s", async (code, status) => {
    const fail = () => Promise.reject(new StarlingError(code, "the message bus is unreachable"));
    const { call } = harness({}, { history: fail, presence: fail, presenceStats: fail });
    for (const path of ["history", "presence", "presence-stats"]) {
      expect((await call("GET", `/v1/channels/room/${path}`)).status).toBe(status);
    }
  });
});
