import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StarlingError } from "../../../../src/core/errors.js";
import { silentLog } from "../../../../src/core/log.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { CHANNELS_COUNTED_MAX, CHANNELS_LISTED_MAX } from "../../../../src/http/pusher/channels.js";
import { harness } from "./harness.js";

const EVENT = { name: "said", data: '{"a":1}', channels: ["room"] };
const unavailable = new StarlingError("unavailable", "the bus is away: nothing was sent");

describe("who may ask", () => {
  it("is whoever signs with any key of the app", async () => {
    const { ask } = harness();
    expect((await ask({ body: EVENT }))?.status).toBe(200);
    expect((await ask({ body: EVENT, pair: { key: "older-key-of-3", secret: "older" } }))?.status).toBe(200);
    const other = await ask({ body: EVENT, pair: { key: "key-of-off", secret: "off" } });
    expect(other).toMatchObject({ status: 401, text: 'auth_key "key-of-off" is not a key of app "3"\n' });
  });

  it("is told of apps that are not there, have no keys, or are disabled", async () => {
    const { ask, errors } = harness();
    for (const id of ["4", "main", "__proto__", ""]) {
      const answer = await ask({ path: `/apps/${id}/events`, body: EVENT });
      expect(answer).toMatchObject({
        status: 404,
        text: expect.stringContaining(`no app "${id}"`) as string,
      });
    }
    const off = { path: "/apps/off/events", body: EVENT };
    expect(await ask({ ...off, pair: { key: "key-of-off", secret: "off" } })).toMatchObject({
      status: 403,
      text: 'app "off" is disabled\n',
    });
    // Not to who cannot sign for it.
    expect((await ask({ ...off, pair: { key: "key-of-off", secret: "of" } }))?.status).toBe(401);
    expect(Object.fromEntries(errors)).toEqual({ not_found: 4, forbidden: 1, unauthorized: 1 });
  });

  it("is told in the log at level debug what was refused, by no secret", async () => {
    const lines: unknown[] = [];
    const log = { ...silentLog, debugs: true, debug: (...line: unknown[]) => void lines.push(line) };
    const { ask } = harness({}, {}, "", log);
    await ask({ body: EVENT });
    await ask({ body: EVENT, pair: { key: "key-of-3", secret: "not-the-secret" } });
    expect(lines).toEqual([
      [
        { code: "unauthorized", method: "POST", path: "/apps/3/events" },
        expect.stringMatching(/^Pusher API: a request was refused: Invalid signature: you should have sent /),
      ],
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/secret-of-3|not-the-secret/);
  });

  it("is counted by route and status, whatever its path, and with its app by its signature", async () => {
    const { ask, raw, apps, stats } = harness();
    const body = { ...EVENT, data: "x".repeat(20_000) };
    await ask({ body: EVENT });
    await ask({ body });
    await ask({ body: EVENT, pair: { key: "key-of-3", secret: "wrong" } });
    await ask({ path: "/apps/4/events", body: EVENT });
    for (const channel of ["a", "b"]) await ask({ method: "GET", path: `/apps/3/channels/${channel}` });
    await ask({ method: "GET", path: "/apps/3/nonsense" });
    await ask({ method: "GET", path: "/apps/3/events" });
    await raw({ path: "/apps/3/%", method: "GET" });
    await ask({ path: "/apps/off/events", body: EVENT, pair: { key: "key-of-off", secret: "off" } });
    const counted = stats.routes.flatMap(({ api, route, statuses }) =>
      [...statuses].filter(([, count]) => count > 0).map((answered) => [api, route, ...answered]),
    );
    expect(counted).toEqual([
      ["pusher", "/events", 200, 1],
      ["pusher", "/events", 401, 1],
      ["pusher", "/events", 403, 1],
      ["pusher", "/events", 404, 1],
      ["pusher", "/events", 413, 1],
      ["pusher", "/channels/{channel}", 200, 2],
      ["pusher", "unknown", 404, 2],
      ["pusher", "unknown", 405, 1],
    ]);
    expect(stats.routes.map(({ seconds }) => seconds.count)).toEqual([5, 0, 0, 2, 0, 0, 3]);
    expect(apps.get("3")!.counts).toMatchObject({ signaturesValid: 4, signaturesRefused: 1 });
    expect(apps.get("off")!.counts).toMatchObject({ signaturesRefused: 0, refusedDisabled: 1 });
  });

  it("is found by the key where the path names no app, as Python's SDK asks", async () => {
    const { ask, calls } = harness();
    const path = "/users/42/terminate_connections";
    expect(await ask({ path, body: {} })).toMatchObject({ status: 200, text: "{}" });
    expect(calls).toEqual([["3", "42", { reason: "terminated by the application" }]]);
    expect((await ask({ path, body: {}, pair: { key: "no-key", secret: "off" } }))?.status).toBe(401);
  });

  it("may sign the path with the prefix or without, and get the request there either way", async () => {
    const { ask, raw } = harness({}, {}, "/push");
    for (const path of ["/push/apps/3/events", "/apps/3/events"]) {
      for (const signedPath of ["/push/apps/3/events", "/apps/3/events"]) {
        expect((await ask({ path, signedPath, body: EVENT }))?.status).toBe(200);
      }
    }
    expect(
      (await ask({ path: "/push/apps/3/events", signedPath: "/other/apps/3/events", body: EVENT }))?.status,
    ).toBe(401);
    expect(await raw({ path: "/pushapps/3/events" })).toBeUndefined();
  });

  it("may sign a path whose characters are escaped on the way", async () => {
    const { ask } = harness();
    const answer = await ask({
      method: "GET",
      path: "/apps/3/channels/a%3Bb%40c",
      signedPath: "/apps/3/channels/a;b@c",
    });
    expect(answer).toMatchObject({ status: 200, text: '{"occupied":true}' });
  });
});

describe("paths", () => {
  it("of others are left to them", async () => {
    const { raw } = harness();
    for (const path of ["/", "/app/key", "/apps", "/v1/publish", "/users/1", "*"]) {
      expect(await raw({ path })).toBeUndefined();
    }
  });

  it("that are not there are 404, other methods 405, broken escapes 400", async () => {
    const { ask, raw } = harness();
    for (const path of ["/apps/3", "/apps/3/", "/apps/3/event", "/apps/3/channels/a/b", "/apps//x/y"]) {
      expect((await raw({ path }))?.status).toBe(404);
    }
    expect(await ask({ method: "GET" })).toMatchObject({ status: 405, headers: { allow: "POST" } });
    expect((await raw({ method: "GET", path: "/apps/3/channels/%ff" }))?.status).toBe(400);
    expect((await raw({ path: "/apps/%/events" }))?.status).toBe(400);
    expect((await raw({ path: "/apps/3/events", query: "a=%" }))?.status).toBe(400);
  });
});

describe("an event", () => {
  it("is published as a text, once to each channel, a user's by the node's own name", async () => {
    const { ask, published } = harness();
    const channels = ["room", "private-encrypted-a", "room", "#server-to-user-42"];
    const answer = await ask({ body: { ...EVENT, channels, socket_id: "1.2" } });
    expect(answer).toMatchObject({ status: 200, text: "{}" });
    expect(answer!.headers["content-type"]).toMatch(/^application\/json/);
    expect(published.map(({ channel }) => channel)).toEqual(["room", "private-encrypted-a", "#user:42"]);
    expect(published[0]).toEqual({
      ...{ app: "3", channel: "room", event: "said", tags: undefined },
      payload: { bytes: Buffer.from('{"a":1}'), encoding: Encoding.text },
      ...{ exclude: "1.2", excludeWithHistory: true },
    });
  });

  it("may name one channel, have null for what it lacks, and stand in the query", async () => {
    const { ask, published } = harness();
    expect(
      (await ask({ body: { name: "a", data: "", channel: "one", socket_id: null, info: null } }))?.status,
    ).toBe(200);
    expect((await ask({ query: "name=b&channel=two&data=x+y" }))?.status).toBe(200);
    expect(
      (await ask({ query: "name=c&channels[]=three&channels[]=four", body: { data: "z" } }))?.status,
    ).toBe(200);
    expect(published.map(({ channel, event, payload }) => [channel, event, String(payload.bytes)])).toEqual([
      ["one", "a", ""],
      ["two", "b", "x y"],
      ["three", "c", "z"],
      ["four", "c", "z"],
    ]);
  });

  const max = "é".repeat(5 * 1024);
  it("is measured in bytes", async () => {
    const { ask } = harness();
    expect((await ask({ body: { ...EVENT, data: max } }))?.status).toBe(200);
    const answer = await ask({ body: { ...EVENT, data: `${max}!` } });
    expect(answer).toMatchObject({
      status: 413,
      text: '"data" has 10241 bytes, at most 10240 are allowed (pusher.maxDataBytes)\n',
    });
    expect((await ask({ body: { ...EVENT, name: "é".repeat(100) } }))?.status).toBe(200);
    expect((await ask({ body: { ...EVENT, name: "é".repeat(101) } }))?.text).toContain("202 bytes");
  });

  it.each([
    ["no JSON", "{", "not JSON"],
    ["a list", [], "the body must be a JSON object"],
    [
      "endless lists",
      "[".repeat(100_000) + "]".repeat(100_000),
      "the body must be a JSON object, not a list",
    ],
    ["null", "null", "the body must be a JSON object"],
    ["no name", { ...EVENT, name: undefined }, '"name" is missing'],
    ["a number for a name", { ...EVENT, name: 1 }, '"name" must be a string, not 1'],
    ["an empty name", { ...EVENT, name: "" }, '"name" has 0 bytes'],
    ["a name of the server's", { ...EVENT, name: "pusher:ping" }, "pusher:"],
    ["an internal name", { ...EVENT, name: "pusher_internal:member_added" }, "pusher_internal:"],
    ["no data", { ...EVENT, data: undefined }, '"data" is missing'],
    ["an object for data", { ...EVENT, data: { a: 1 } }, '"data" must be a string'],
    ["no channel", { ...EVENT, channels: undefined }, '"channels" is missing'],
    ["no channels", { ...EVENT, channels: [] }, '"channels" has 0 items'],
    ["a text for channels", { ...EVENT, channels: "room" }, '"channels" must be a list'],
    ["channels and channel", { ...EVENT, channel: "room" }, "not both"],
    [
      "a number among them",
      { ...EVENT, channels: ["a", 5] },
      '"channels" must be a list of strings, not of 5',
    ],
    [
      "too many channels",
      { ...EVENT, channels: Array.from({ length: 101 }, String) },
      "101 items, 1 to 100 are allowed (pusher.maxEventChannels)",
    ],
    ["a bad channel", { ...EVENT, channels: ["a b"] }, 'channel "a b"'],
    ["a long channel", { ...EVENT, channels: ["a".repeat(201)] }, "201 characters, at most 200"],
    ["another # channel", { ...EVENT, channels: ["#user:42"] }, "#user:42"],
    ["a bad user", { ...EVENT, channels: ["#server-to-user-"] }, "user id"],
    ["a bad socket", { ...EVENT, socket_id: "1.2.3" }, '"socket_id" is "1.2.3"'],
    ["no text for a socket", { ...EVENT, socket_id: 1.2 }, '"socket_id" must be a string, not 1.2'],
    ["an endless socket", { ...EVENT, socket_id: `1.${"2".repeat(200)}` }, '"socket_id"'],
    ["unknown info", { ...EVENT, info: "user_count,cache" }, 'asks for "cache"'],
    ["a list of info", { ...EVENT, info: ["user_count"] }, '"info" must be a string'],
  ])("with %s is refused", async (_, body, problem) => {
    const { ask, published, errors } = harness();
    const answer = await ask({ body });
    expect(answer?.status).toBe(400);
    expect(answer?.text).toContain(problem);
    expect(answer?.headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(published).toEqual([]);
    expect([...errors.values()]).toEqual([1]);
  });

  it("is held to the app's own limits", async () => {
    const { ask } = harness(
      {},
      { maxDataBytes: 3, maxEventChannels: 1, maxChannelNameBytes: 4, maxBatchEvents: 1 },
    );
    expect((await ask({ body: { ...EVENT, data: "1234" } }))?.status).toBe(413);
    expect((await ask({ body: { ...EVENT, data: "1", channels: ["a", "b"] } }))?.status).toBe(400);
    expect((await ask({ body: { ...EVENT, data: "1", channels: ["abcde"] } }))?.status).toBe(400);
  });

  it("tells how many hear it, where that is asked and known", async () => {
    const channels = ["presence-a", "room", "__proto__"];
    const asked = { ...EVENT, channels, info: "user_count,subscription_count" };
    expect((await harness().ask({ body: asked }))?.text).toBe(
      '{"channels":{"presence-a":{"user_count":3,"subscription_count":10},"room":{"subscription_count":4},"__proto__":{"subscription_count":9}}}',
    );
    // It has gone out: an error would have it sent again.
    const missing = harness({
      subscriberCounts: () => Promise.resolve({ counts: [1, 1, 1], missing: ["n2"] }),
    });
    expect((await missing.ask({ body: asked }))?.text).toBe(
      '{"channels":{"presence-a":{"user_count":3},"room":{},"__proto__":{}}}',
    );
    const away = harness({
      subscriberCounts: () => Promise.reject(unavailable),
      presenceStats: () => Promise.reject(unavailable),
    });
    expect((await away.ask({ body: asked }))?.text).toBe(
      '{"channels":{"presence-a":{},"room":{},"__proto__":{}}}',
    );
  });

  it("tells no users of a channel without subscribers, as in the grace of who left it last", async () => {
    const { ask } = harness({
      subscriberCounts: (_app, channels) =>
        Promise.resolve({ counts: channels.map((name) => (name === "presence-a" ? 0 : 2)), missing: [] }),
    });
    const channels = ["presence-a", "presence-b", "room"];
    for (const [info, a, b] of [
      [
        "user_count,subscription_count",
        '"user_count":0,"subscription_count":0',
        '"user_count":3,"subscription_count":2',
      ],
      ["user_count", '"user_count":0', '"user_count":3'],
    ] as const) {
      const answer = await ask({ body: { ...EVENT, channels, info } });
      const room = info === "user_count" ? "" : '"subscription_count":2';
      expect(answer?.text).toBe(`{"channels":{"presence-a":{${a}},"presence-b":{${b}},"room":{${room}}}}`);
    }
  });

  it("that does not reach the bus is never answered 200", async () => {
    const away = harness({ publish: () => Promise.reject(unavailable) });
    const several = { ...EVENT, channels: ["a", "b"] };
    for (const body of [EVENT, several]) {
      expect(await away.ask({ body })).toMatchObject({
        status: 503,
        headers: { "retry-after": "1" },
        text: `${unavailable.message}\n`,
      });
    }
    const half = harness({
      publish: ({ channel }) => (channel === "a" ? Promise.resolve(undefined) : Promise.reject(unavailable)),
    });
    expect(await half.ask({ body: several })).toMatchObject({
      status: 504,
      text: expect.stringContaining("1 of 2 publications failed") as string,
    });
    const overloaded = harness({ publish: () => Promise.reject(new StarlingError("overloaded", "busy")) });
    expect(await overloaded.ask({ body: EVENT })).toMatchObject({
      status: 429,
      headers: { "retry-after": "1" },
    });
    const broken = harness({ publish: () => Promise.reject(new Error("a secret of ours")) });
    const answer = await broken.ask({ body: EVENT });
    expect(answer?.status).toBe(500);
    expect(answer?.text).not.toContain("secret");
  });
});

describe("a batch", () => {
  const batch = [
    { name: "a", channel: "presence-a", data: "1", info: "user_count,subscription_count" },
    { name: "b", channel: "room", data: "2", socket_id: "1.2" },
    { name: "c", channel: "presence-a", data: "3", info: "user_count" },
  ];

  it("is published in its order, and answered by index where counts are asked", async () => {
    const { ask, published } = harness();
    expect(await ask({ path: "/apps/3/batch_events", body: { batch: [batch[1]] } })).toMatchObject({
      status: 200,
      text: "{}",
    });
    const answer = await ask({ path: "/apps/3/batch_events", body: { batch } });
    expect(answer?.text).toBe('{"batch":[{"user_count":3,"subscription_count":10},{},{"user_count":3}]}');
    expect(published.map(({ event, exclude }) => [event, exclude])).toEqual([
      ["b", "1.2"],
      ["a", undefined],
      ["b", "1.2"],
      ["c", undefined],
    ]);
  });

  it.each([
    ["nothing", "", "the body is empty"],
    ["no batch", {}, '"batch" is missing'],
    ["an object", { batch: {} }, '"batch" must be a list'],
    ["no events", { batch: [] }, '"batch" has 0 items, 1 to 10'],
    [
      "too many",
      { batch: Array.from({ length: 11 }, () => batch[0]) },
      '"batch" has 11 items, 1 to 10 are allowed (pusher.maxBatchEvents)',
    ],
    ["a text in it", { batch: ["a"] }, "batch[0] must be a JSON object"],
    [
      "no channel",
      { batch: [batch[0], { ...batch[1], channel: undefined }] },
      '"batch[1].channel" is missing',
    ],
    ["a wrong field", { batch: [{ ...batch[0], data: 5 }] }, '"batch[0].data" must be a string'],
    [
      "a name that is none",
      { batch: [batch[0], { ...batch[0], channel: "a b" }] },
      'batch[1]: channel "a b" is not a valid name',
    ],
    ["an unknown info", { batch: [{ ...batch[0], info: "x" }] }, 'batch[0]: "info" asks for "x"'],
    ["a wrong socket", { batch: [batch[1], { ...batch[1], socket_id: "x" }] }, '"batch[1].socket_id"'],
  ])("of %s is refused as a whole", async (_, body, problem) => {
    const { ask, published } = harness();
    const answer = await ask({ path: "/apps/3/batch_events", body });
    expect(answer?.status).toBe(400);
    expect(answer?.text).toContain(problem);
    expect(published).toEqual([]);
  });
});

describe("questions about channels", () => {
  const get = (path: string, query = "") => ({ method: "GET", path: `/apps/3/channels${path}`, query });

  it("list those that are occupied and whose names are Pusher's", async () => {
    const channels = ["a b", "chat:1", "presence-x", "room"].map((channel) => ({ channel, subscribers: 2 }));
    const all = { channels: [...channels, { channel: "empty", subscribers: 0 }], missing: [] };
    const { ask, calls } = harness({
      channels: (query) => {
        calls.push(query);
        return Promise.resolve(all);
      },
    });
    expect((await ask(get("")))?.text).toBe('{"channels":{"presence-x":{},"room":{}}}');
    expect((await ask(get("", "info=subscription_count&filter_by_prefix=r")))?.text).toBe(
      '{"channels":{"presence-x":{"subscription_count":2},"room":{"subscription_count":2}}}',
    );
    expect(calls.at(-1)).toEqual({ app: "3", prefix: "r", limit: CHANNELS_LISTED_MAX + 1 });
  });

  it.each([
    ["", CHANNELS_LISTED_MAX],
    ["filter_by_prefix=presence-&info=user_count", CHANNELS_COUNTED_MAX],
  ])(
    "list the first by name where there are more than one answer has, and say so: %s",
    async (query, most) => {
      let counted = 0;
      const { ask, calls } = harness({
        channels: ({ limit }) => {
          calls.push(limit);
          const channels = Array.from({ length: limit }, (_, i) => ({
            channel: `presence-${i}`,
            subscribers: 1,
          }));
          return Promise.resolve({ channels, missing: [] });
        },
        presenceStats: () => Promise.resolve({ connections: 1, users: ++counted }),
      });
      const answer = await ask(get("", query));
      expect(calls).toEqual([most + 1]);
      expect(answer?.headers["x-starling-truncated"]).toBe("true");
      expect(Object.keys((JSON.parse(answer!.text) as { channels: object }).channels)).toHaveLength(most);
      expect(counted).toBe(query === "" ? 0 : most);
    },
  );

  it("count users by prefix of presence channels only", async () => {
    const channels = [{ channel: "presence-x", subscribers: 2 }];
    const { ask } = harness({ channels: () => Promise.resolve({ channels, missing: [] }) });
    expect((await ask(get("", "filter_by_prefix=presence-&info=user_count")))?.text).toBe(
      '{"channels":{"presence-x":{"user_count":3}}}',
    );
    for (const query of [
      "info=user_count",
      "filter_by_prefix=pres&info=user_count",
      "info=cache",
      "info=x",
    ]) {
      expect((await ask(get("", query)))?.status).toBe(400);
    }
    expect((await ask(get("", `filter_by_prefix=${"a".repeat(201)}`)))?.status).toBe(400);
  });

  it("describe one", async () => {
    const { ask } = harness();
    expect((await ask(get("/room")))?.text).toBe('{"occupied":true}');
    expect((await ask(get("/presence-a", "info=subscription_count,user_count")))?.text).toBe(
      '{"occupied":true,"user_count":3,"subscription_count":10}',
    );
    expect((await ask(get("/cache-a", "info=cache")))?.text).toBe('{"occupied":true,"cache":null}');
    const empty = harness({ subscriberCounts: () => Promise.resolve({ counts: [0], missing: [] }) });
    expect((await empty.ask(get("/presence-a", "info=user_count")))?.text).toBe(
      '{"occupied":false,"user_count":0}',
    );
    for (const path of ["/room?info=user_count", "/room?info=cache", "/a%20b?", "/room?info=x"]) {
      const [where, query] = path.split("?") as [string, string];
      expect((await ask(get(where, query)))?.status).toBe(400);
    }
  });

  it("tell the last event of a cache channel, and how long it is kept", async () => {
    const { ask } = harness({
      history: (app, channel, range) => {
        expect([app, channel, range]).toEqual([
          "3",
          "cache-a",
          { since: undefined, limit: 1, reverse: true },
        ]);
        const position = { offset: 1, epoch: "e" };
        const publication = {
          ...{
            key: "3/cache-a",
            from: undefined,
            event: "said",
            tags: undefined,
            exclude: undefined,
            position,
          },
          payload: { bytes: Buffer.from('{"a":"é"}'), encoding: Encoding.text },
          publishedAtMs: Date.now() - 60_000,
        };
        return Promise.resolve({ publications: [publication], top: position });
      },
    });
    const { cache } = JSON.parse((await ask(get("/cache-a", "info=cache")))!.text) as {
      cache: { data: string; ttl: number };
    };
    expect(cache.data).toBe('{"a":"é"}');
    expect(cache.ttl).toBeGreaterThan(28 * 60);
    expect(cache.ttl).toBeLessThanOrEqual(29 * 60);
  });

  it("list the users of presence channels, each once and as a string", async () => {
    const members = ["1", "1", "2", null].map((user, i) => ({ connection: `n.${i}`, user }));
    const { ask } = harness({ presence: () => Promise.resolve({ members, connections: 4, users: 3 }) });
    const answer = await ask(get("/presence-a/users"));
    expect(answer?.text).toBe('{"users":[{"id":"1"},{"id":"2"},{"id":"n.3"}]}');
    expect(answer?.headers).not.toHaveProperty("x-starling-truncated");
    expect((await ask(get("/room/users")))?.status).toBe(400);
  });

  it("are not answered by half", async () => {
    const { ask } = harness({
      channels: () => Promise.resolve({ channels: [], missing: ["n2"] }),
      subscriberCounts: () => Promise.resolve({ counts: [0], missing: ["n2"] }),
    });
    for (const path of ["", "/room"]) {
      expect(await ask(get(path))).toMatchObject({
        status: 503,
        headers: { "retry-after": "1" },
        text: expect.stringContaining("n2") as string,
      });
    }
  });
});

describe("ending a user's connections", () => {
  const path = (user: string): string => `/apps/3/users/${user}/terminate_connections`;

  it("takes any body or none", async () => {
    const { ask } = harness();
    for (const body of [undefined, {}, "x"]) {
      expect(await ask({ path: path("42"), body })).toMatchObject({ status: 200, text: "{}" });
    }
    expect((await ask({ path: path("a%20b"), body: {} }))?.status).toBe(400);
  });

  it("is no success where a node did not say that it did", async () => {
    const { ask } = harness({ disconnectUser: () => Promise.resolve({ missing: ["n2"] }) });
    expect((await ask({ path: path("42"), body: {} }))?.status).toBe(504);
  });
});

describe("whatever comes", () => {
  const anything = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        name: fc.oneof(fc.string(), fc.jsonValue()),
        data: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
        channel: fc.oneof(fc.string(), fc.constant("room"), fc.jsonValue()),
        channels: fc.oneof(fc.array(fc.oneof(fc.constant("a"), fc.string(), fc.jsonValue())), fc.jsonValue()),
        socket_id: fc.oneof(fc.constant("1.2"), fc.string(), fc.jsonValue()),
        info: fc.oneof(fc.constant("user_count"), fc.string(), fc.jsonValue()),
        batch: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
  );

  it("in a body is published or refused, never a fault", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(anything, fc.record({ batch: fc.array(anything, { maxLength: 11 }) })),
        async (body) => {
          for (const path of ["/apps/3/events", "/apps/3/batch_events"]) {
            const { ask, published } = harness();
            const answer = await ask({ path, body: JSON.stringify(body) });
            expect([200, 400, 413]).toContain(answer?.status);
            expect(published.length > 0).toBe(answer?.status === 200);
          }
        },
      ),
    );
  });

  it("in a query or path is answered, never a fault", async () => {
    const { ask, raw } = harness();
    const piece = fc.oneof(
      fc.constantFrom(
        "auth_key=key-of-3",
        "auth_signature=00",
        "info=user_count",
        "[]=",
        "%",
        "a%ff",
        "&&",
        "=",
      ),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece), fc.string(), async (pieces, name) => {
        const query = pieces.join("&");
        for (const path of [`/apps/3/channels/${name}`, `/apps/${name}/events`, `/apps/3/${name}`]) {
          const answer = await raw({ method: "GET", path, query });
          expect([400, 401, 404, 405]).toContain(answer?.status);
        }
        const clean = encodeURIComponent(Buffer.from(name).toString());
        const answer = await ask({
          method: "GET",
          path: "/apps/3/channels",
          query: `filter_by_prefix=${clean}`,
        });
        expect([200, 400]).toContain(answer?.status);
      }),
    );
  });
});
