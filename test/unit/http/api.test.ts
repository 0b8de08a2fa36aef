import { describe, expect, it } from "vitest";
import type { Log } from "../../../src/core/log.js";
import { StarlingError } from "../../../src/core/errors.js";
import { Stats } from "../../../src/core/stats.js";
import { harness, KEY, type CallOptions } from "./api-harness.js";

const problem = (code: string, message: string, temporary = false) => ({
  error: { code, message, temporary },
});

/** Keeps what is logged as an error. */
function recordingLog() {
  const lines: [object, string][] = [];
  const quiet = () => undefined;
  const log: Log = { debug: quiet, info: quiet, warn: quiet, error: (...line) => lines.push(line) };
  return { log, lines };
}

describe("API key", () => {
  it("is taken as a bearer token or as X-API-Key, whatever the case of the scheme", async () => {
    const { call } = harness({ apiKeys: ["first", "second"] });
    for (const headers of [
      { authorization: "Bearer first" },
      { authorization: "bearer second" },
      { "x-api-key": "second" },
      { authorization: "Basic abc", "x-api-key": "first" },
    ]) {
      expect((await call("GET", "/v1/totals", { key: null, headers })).status).toBe(200);
    }
  });

  it.each<[string, Record<string, string>]>([
    ["no key", {}],
    ["an empty key", { "x-api-key": "" }],
    ["another key", { "x-api-key": "key" }],
    ["a key with more behind it", { authorization: `Bearer ${KEY}x` }],
    ["a prefix of the key", { authorization: `Bearer ${KEY.slice(0, -1)}` }],
    ["the key in another scheme", { authorization: `Basic ${KEY}` }],
    ["the bare key", { authorization: KEY }],
  ])("answers 401 to %s, and calls nothing", async (_name, headers) => {
    const { call, calls, published } = harness();
    for (const [method, path] of [
      ["GET", "/v1/totals"],
      ["GET", "/metrics"],
      ["GET", "/openapi.json"],
      ["POST", "/v1/publish"],
      ["GET", "/v1/no-such-path"],
      ["DELETE", "/v1/publish"],
    ] as const) {
      const body = method === "POST" ? { channel: "a", content: 1 } : undefined;
      const answer = await call(method, path, { key: null, headers, body });
      expect(answer).toMatchObject({
        status: 401,
        json: { error: { code: "unauthorized", temporary: false } },
      });
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer realm="starling"/);
      expect(answer.body).not.toContain(KEY);
    }
    expect([calls, published]).toEqual([[], []]);
  });

  it("is not asked for on health, and on metrics only where they are not public", async () => {
    const closed = harness();
    expect((await closed.call("GET", "/healthz", { key: null })).json).toEqual({ status: "ok" });
    expect((await closed.call("GET", "/readyz", { key: null })).status).toBe(200);
    expect((await closed.call("GET", "/metrics", { key: null })).status).toBe(401);
    expect((await closed.call("GET", "/metrics")).status).toBe(200);
    expect((await harness({ metricsPublic: true }).call("GET", "/metrics", { key: null })).status).toBe(200);
  });

  it("is not asked for where none is configured", async () => {
    const { call } = harness({ apiKeys: [] });
    for (const path of ["/v1/totals", "/metrics", "/openapi.json"]) {
      expect((await call("GET", path, { key: null })).status).toBe(200);
    }
  });

  it("without one, web pages cannot publish: their requests carry an origin or are no JSON", async () => {
    const { call, published } = harness({ apiKeys: [] });
    const body = { channel: "a", content: 1 };
    for (const origin of ["https://evil.example", "null"]) {
      const answer = await call("POST", "/v1/publish", { key: null, headers: { origin }, body });
      expect(answer).toMatchObject({ status: 403, json: { error: { code: "forbidden" } } });
      expect((await call("POST", "/v1/users/42/disconnect", { key: null, headers: { origin } })).status).toBe(
        403,
      );
    }
    expect(published).toHaveLength(0);
    expect((await call("POST", "/v1/publish", { key: null, body })).status).toBe(200);
    const keyed = harness();
    expect(
      (await keyed.call("POST", "/v1/publish", { headers: { origin: "https://a.example" }, body })).status,
    ).toBe(200);
  });

  it("refuses to be made with a key that no header can carry", () => {
    for (const key of ["", "a b", "ключ"]) {
      expect(() => harness({ apiKeys: ["good", key] })).toThrow(
        "API key 2 of 2 is empty or not printable ASCII",
      );
    }
  });
});

describe("a body", () => {
  it.each<[string, number, string, CallOptions]>([
    ["/v1/publish", 401, "POST", { key: null }],
    ["/v1/nowhere", 404, "POST", {}],
    ["/v1/totals", 405, "POST", {}],
    ["/v1/publish", 415, "POST", { headers: { "content-type": "text/plain" } }],
    ["/v1/publish", 415, "POST", { headers: { "content-encoding": "gzip" } }],
    ["/v1/channels?limit=0", 400, "GET", {}],
    ["/v1/users/%ff/disconnect", 400, "POST", {}],
    ["/v1/totals", 200, "GET", {}],
  ])("is not read for %s with %i", async (path, status, method, options) => {
    const { call, bodiesRead } = harness();
    const answer = await call(method, path, { body: { channel: "a", content: 1 }, ...options });
    expect([answer.status, bodiesRead]).toEqual([status, []]);
  });

  it("that is compressed is refused, naming the coding; identity is none", async () => {
    const { call } = harness();
    const publish = (coding: string) =>
      call("POST", "/v1/publish", {
        headers: { "content-encoding": coding },
        body: { channel: "a", content: 1 },
      });
    for (const coding of ["gzip", "br", "identity, gzip"]) {
      expect(await publish(coding)).toMatchObject({
        status: 415,
        headers: { "accept-encoding": "identity" },
        json: problem(
          "unsupported_media_type",
          `content-encoding "${coding}" is not supported: send the body uncompressed`,
        ),
      });
    }
    expect((await publish("Identity")).status).toBe(200);
  });
});

describe("errors", () => {
  it("are counted by code, all of which are shown from the start", async () => {
    const stats = new Stats();
    const { apiErrors: errors } = stats;
    const { call, api } = harness({ stats });
    expect([...new Set(errors.values())]).toEqual([0]);
    await call("GET", "/v1/totals", { key: null });
    await call("GET", "/v1/totals");
    expect(api.refuse("headers_too_large", "too many")).toMatchObject({ status: 431 });
    expect(Object.fromEntries([...errors].filter(([, count]) => count > 0))).toEqual({
      unauthorized: 1,
      headers_too_large: 1,
    });
  });
});

describe("requests", () => {
  it("are counted by route and status, whatever their path; probes and scrapes are not", async () => {
    const stats = new Stats();
    const { call } = harness({ stats });
    await call("POST", "/v1/publish", { body: { channel: "a", content: 1 } });
    await call("POST", "/v1/publish", { body: { channel: "a b", content: 1 } });
    for (const channel of ["a", "b", "c"]) await call("GET", `/v1/channels/${channel}`);
    for (const path of ["/v1/publisch", "/v1/channels/a/b/c"]) await call("GET", path);
    await call("GET", "/v1/publish", { key: null });
    for (const path of ["/healthz", "/readyz", "/metrics"]) await call("GET", path);
    const counted = stats.routes.flatMap(({ api, route, statuses }) =>
      [...statuses].filter(([, count]) => count > 0).map((answered) => [api, route, ...answered]),
    );
    expect(counted).toEqual([
      ["starling", "/v1/publish", 200, 1],
      ["starling", "/v1/publish", 400, 1],
      ["starling", "/v1/channels/{channel}", 200, 3],
      // To which the answers are held.
      ["starling", "/openapi.json", 200, 1],
      ["starling", "unknown", 401, 1],
      ["starling", "unknown", 404, 2],
    ]);
    const channel = stats.routes.find(({ route }) => route === "/v1/channels/{channel}")!;
    expect(channel.seconds.count).toBe(3);
    expect(stats.routes.map(({ route }) => route)).not.toContain("/healthz");
  });
});

describe("content type", () => {
  it("must be JSON where there is a body", async () => {
    const { call } = harness();
    const publish = (type: string) =>
      call("POST", "/v1/publish", { headers: { "content-type": type }, body: '{"channel":"a","content":1}' });
    for (const type of [
      "application/json",
      "Application/JSON; charset=utf-8",
      "application/json ;charset=utf-8",
    ]) {
      expect((await publish(type)).status).toBe(200);
    }
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]) {
      expect(await publish(type)).toMatchObject({
        status: 415,
        json: problem("unsupported_media_type", `content-type must be application/json, it is "${type}"`),
      });
    }
  });
});

describe("paths and methods", () => {
  it.each([
    ["/v1/pubish", "did you mean /v1/publish?"],
    ["/v1/publish/", "did you mean /v1/publish?"],
    ["/v1/user/42/connections", "did you mean /v1/users/{user}/connections?"],
    ["/v1/users/a-very-long-user-id/conections", "did you mean /v1/users/{user}/connections?"],
    ["/health", "did you mean /healthz?"],
    ["/something/else/altogether", "GET /openapi.json lists all"],
    [`/v1/${"x".repeat(100_000)}`, "GET /openapi.json lists all"],
  ])("answers 404 to %.50s, naming the nearest", async (path, hint) => {
    const { call } = harness();
    const answer = await call("GET", path);
    expect(answer).toMatchObject({ status: 404, json: { error: { code: "not_found", temporary: false } } });
    expect((answer.json as { error: { message: string } }).error.message).toContain(hint);
    expect(answer.body.length).toBeLessThan(250);
  });

  it.each([
    ["a WebSocket", "/ws?app=shop", { upgrade: "WebSocket" }],
    ["the path of Pusher's clients", "/push/app/key-of-shop?protocol=7", {}],
  ])("sends a client to its own port that comes by %s, without a key too", async (_, path, headers) => {
    const answer = await harness().call("GET", path, { key: null, headers });
    expect(answer).toMatchObject({
      status: 404,
      json: problem("not_found", "clients connect to port 8000 (port): this one has the HTTP APIs"),
    });
    expect((await harness({ clientsPort: 0 }).call("GET", path, { headers })).body).toContain(
      "clients connect to the port of clients (port)",
    );
  });

  it("answers 405 to a wrong method, naming the right ones", async () => {
    const { call } = harness();
    const get = await call("GET", "/v1/publish");
    expect(get).toMatchObject({
      status: 405,
      json: problem("method_not_allowed", 'method "GET" is not allowed here; allowed: POST'),
    });
    expect(get.headers["allow"]).toBe("POST");
    const remove = await call("DELETE", "/v1/channels/room");
    expect([remove.status, remove.headers["allow"]]).toEqual([405, "GET, HEAD"]);
    expect((await call("OPTIONS", "/v1/totals")).status).toBe(405);
  });

  it("answers HEAD as GET: the transport leaves the body out", async () => {
    const { call } = harness();
    const head = await call("HEAD", "/v1/totals");
    expect(head).toMatchObject({ status: 200, body: (await call("GET", "/v1/totals")).body });
    expect((await call("HEAD", "/v1/publish")).status).toBe(405);
  });

  it("refuses a path parameter that is not percent-encoded UTF-8", async () => {
    const { call } = harness();
    for (const segment of ["%", "%zz", "%ff", "%ed%a0%80"]) {
      expect(await call("GET", `/v1/channels/${segment}`)).toMatchObject({
        status: 400,
        json: problem("bad_request", `"${segment}" in the path is not percent-encoded UTF-8`),
      });
    }
  });
});

describe("channels", () => {
  it("are listed with the defaults, and by prefix and limit", async () => {
    const { call, calls } = harness();
    const answer = await call("GET", "/v1/channels");
    expect(answer.json).toEqual({ channels: [{ channel: "a", subscribers: 2 }], missing: ["n2"] });
    await call("GET", "/v1/channels?prefix=%23user%3A&limit=5");
    await call("GET", "/v1/channels?prefix=12");
    expect(calls).toEqual([
      ["channels", { app: "main", prefix: "", limit: 100 }],
      ["channels", { app: "main", prefix: "#user:", limit: 5 }],
      ["channels", { app: "main", prefix: "12", limit: 100 }],
    ]);
  });

  it.each([
    ["limit=0", '"limit" is 0, at least 1 is needed'],
    ["limit=1001", '"limit" is 1001, at most 1000 are allowed'],
    ["limit=-1", '"limit" is -1, at least 1 is needed'],
    ["limit=ten", '"limit" must be a number, not "ten"'],
    ["limit=1.5", '"limit" must be a number, not "1.5"'],
    ["limit=", '"limit" must be a number, not ""'],
    ["limit=1&limit=2", 'query parameter "limit" is given twice'],
    ["limt=5", 'unknown query parameter "limt": did you mean "limit"?'],
    ["__proto__=5", 'unknown query parameter "__proto__": allowed are prefix, limit'],
    [`prefix=${"x".repeat(256)}`, '"prefix" has 256 characters, at most 255 are allowed'],
  ])("refuse %.40s", async (query, message) => {
    const { call, calls } = harness();
    expect(await call("GET", `/v1/channels?${query}`)).toMatchObject({
      status: 400,
      json: problem("bad_request", message),
    });
    expect(calls).toHaveLength(0);
  });

  it("are counted one by one, under any name that the grammar has", async () => {
    const { call, calls } = harness();
    const name = "#a/b?c%d";
    expect((await call("GET", `/v1/channels/${encodeURIComponent(name)}`)).json).toEqual({
      channel: name,
      subscribers: 3,
      missing: [],
    });
    expect(calls).toEqual([["channelSubscribers", { app: "main", channel: name }]]);
    expect(await call("GET", "/v1/channels/a%20b")).toMatchObject({
      status: 400,
      json: { error: { code: "bad_channel" } },
    });
    expect((await call("GET", "/v1/channels/")).json).toMatchObject({ error: { code: "bad_channel" } });
  });

  it("take no query parameter where none means anything", async () => {
    const { call } = harness();
    expect((await call("GET", "/v1/totals?x=1")).json).toEqual(
      problem("bad_request", 'unknown query parameter "x": none is allowed here'),
    );
    // A prober's cache buster must not make a node look dead.
    expect((await call("GET", "/healthz?x=1", { key: null })).status).toBe(200);
  });
});

describe("users", () => {
  it("have their connections listed", async () => {
    const { call, calls } = harness();
    const { json } = await call("GET", "/v1/users/J%C3%BCrgen%20%2F/connections");
    expect(json).toMatchObject({
      connections: [{ node: "n1", connection: "c1", userId: "42" }],
      missing: [],
    });
    expect(calls).toEqual([["userConnections", "main", "Jürgen /"]]);
  });

  it("are disconnected, with a reason or without", async () => {
    const { call, calls } = harness();
    expect(await call("POST", "/v1/users/42/disconnect")).toMatchObject({
      status: 202,
      json: { user: "42", missing: ["n2"] },
    });
    await call("POST", "/v1/users/42/disconnect", { body: { reason: "banned" } });
    expect(calls).toEqual([
      ["disconnectUser", "main", "42", { reason: undefined }],
      ["disconnectUser", "main", "42", { reason: "banned" }],
    ]);
  });

  it("lose a channel", async () => {
    const { call, calls } = harness();
    expect((await call("POST", "/v1/users/42/unsubscribe", { body: { channel: "room" } })).status).toBe(202);
    expect(calls).toEqual([["unsubscribe", "main", { user: "42" }, "room"]]);
  });

  it("get other rights", async () => {
    const { call, calls } = harness();
    await call("POST", "/v1/users/42/permit", { body: { channels: ["a*"], publish: [] } });
    await call("POST", "/v1/users/42/permit", { body: { publish: ["b"] } });
    expect(calls).toEqual([
      ["permit", "main", { user: "42" }, { channels: ["a*"], publish: [] }],
      ["permit", "main", { user: "42" }, { channels: undefined, publish: ["b"] }],
    ]);
  });

  it.each<[string, unknown, string]>([
    ["/v1/users/42/disconnect", { reson: "x" }, 'unknown field "reson": did you mean "reason"?'],
    ["/v1/users/42/disconnect", { reason: "é".repeat(62) }, '"reason" has more than 123 bytes'],
    ["/v1/users/42/unsubscribe", {}, '"channel" is missing: it must be a string'],
    ["/v1/users/42/unsubscribe", undefined, "the body is empty"],
    ["/v1/users/42/permit", {}, 'give "channels", "publish" or both'],
    ["/v1/users/42/permit", { channels: ["a", "#user:1"] }, '"channels.1" must be a channel pattern: '],
    ["/v1/users/42/permit", { channels: "a" }, '"channels" must be an array, not "a"'],
    ["/v1/users/a%0Ab/disconnect", undefined, '"user" has a control character at 1'],
    [
      `/v1/users/${"u".repeat(129)}/disconnect`,
      undefined,
      '"user" has 129 characters, at most 128 are allowed',
    ],
    ["/v1/users//disconnect", undefined, '"user" is empty'],
  ])("refuse %.30s %j", async (path, body, message) => {
    const { call, calls } = harness();
    const answer = await call("POST", path, { body });
    expect(answer.status).toBe(400);
    expect((answer.json as { error: { message: string } }).error.message).toContain(message);
    expect(calls).toHaveLength(0);
  });
});

describe("the node", () => {
  it("says why it is not ready", async () => {
    const reasons = ["the message bus is unreachable"];
    const { call } = harness({}, { ready: () => ({ ready: false, reasons }) });
    for (const [method, path] of [
      ["GET", "/readyz"],
      ["GET", "/"],
      ["OPTIONS", "/"],
    ] as const) {
      expect(await call(method, path, { key: null })).toMatchObject({
        status: 503,
        json: { ready: false, reasons },
      });
    }
  });

  it("gives metrics in the type that their maker names", async () => {
    const { call } = harness();
    const answer = await call("GET", "/metrics");
    expect(answer.body).toBe("up 1\n");
    expect(answer.headers).toMatchObject({
      "content-type": "text/plain; version=0.0.4",
      "cache-control": "no-store",
    });
  });

  it("gives totals", async () => {
    expect((await harness().call("GET", "/v1/totals")).json).toEqual({ nodes: 2, connections: 5 });
  });
});

describe("responses", () => {
  it("are JSON that is not cached, not sniffed, and safe to paste into a page", async () => {
    const { call } = harness();
    for (const path of ["/v1/totals", `/v1/<script>&`]) {
      const { headers, body } = await call("GET", path);
      expect(headers).toMatchObject({
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      });
      expect(body).not.toMatch(/[<>&]/);
    }
  });

  it("say nothing about a fault of our own, which is logged", async () => {
    const { log, lines } = recordingLog();
    const fault = new Error("secret detail");
    const broken = {
      publish: () => Promise.reject(fault),
      ready: () => {
        throw fault;
      },
    };
    const { call } = harness({ log }, broken);
    const body = { channel: "a", content: 1 };
    const internal = problem("internal", "an internal error of the node, which logged the details", true);
    expect(await call("POST", "/v1/publish", { body })).toMatchObject({ status: 500, json: internal });
    expect(await call("GET", "/readyz")).toMatchObject({ status: 500, json: internal });
    const many = await call("POST", "/v1/publish-many", { body: { publications: [body] } });
    expect(many.json).toEqual({ results: [internal] });
    expect(lines.map(([fields]) => (fields as { err: Error }).err)).toEqual([fault, fault, fault]);
  });

  it("log nothing about what a caller got wrong or the bus could not do", async () => {
    const { log, lines } = recordingLog();
    const { call } = harness(
      { log },
      { totals: () => Promise.reject(new StarlingError("unavailable", "the message bus is unreachable")) },
    );
    await call("GET", "/v1/totals");
    await call("GET", "/nowhere");
    await call("POST", "/v1/publish", { body: "{" });
    expect(lines).toEqual([]);
  });
});
