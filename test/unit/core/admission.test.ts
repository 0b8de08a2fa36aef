import { describe, expect, it, vi } from "vitest";
import { Admissions } from "../../../src/core/admission.js";
import { addressKey } from "../../../src/core/client-address.js";
import type { EdgeOptions } from "../../../src/core/options.js";
import { Stats } from "../../../src/core/stats.js";
import type { UpgradeRequest } from "../../../src/core/transport.js";
import { FRAMINGS } from "../../../src/protocols/starling/framing.js";
import { starlingProtocol } from "../../../src/protocols/starling/protocol.js";
import { App, Apps, DEFAULT_APP } from "../../../src/core/app.js";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import { authorizer, OPTIONS, UPGRADE } from "./harness.js";

function setUp(options: Partial<EdgeOptions> = {}, authenticate = false) {
  const stats = new Stats();
  const evicted: string[] = [];
  const admissions = new Admissions<object>({
    options: { ...OPTIONS, ...options },
    protocols: [starlingProtocol],
    apps: new Apps([
      new App({
        id: DEFAULT_APP,
        authorizer: authorizer({ required: authenticate }),
        rulesOf: () => DEFAULT_RULES,
      }),
    ]),
    stats,
    evict: (_client, reason) => evicted.push(reason),
  });
  const check = (request: Partial<UpgradeRequest> = {}) => {
    const { subprotocols = [] } = request;
    const result = admissions.check({ ...UPGRADE, allSubprotocols: subprotocols, ...request });
    return "refused" in result ? result.refused : result;
  };
  /** As check; who is admitted is in. */
  const come = (request: Partial<UpgradeRequest> = {}, client = {}) => {
    const result = check(request);
    if (!("status" in result)) admissions.entered(client, result);
    return result;
  };
  return { stats, admissions, check, come, evicted };
}

const [JSON_FRAMING, MSGPACK_FRAMING] = FRAMINGS;

const ip = (last: number) => ({ address: addressKey([10, 0, 0, last]) });

describe("admission", () => {
  it("admits a client that offers no subprotocol as JSON, without naming one", () => {
    expect(setUp().check()).toMatchObject({ offer: { framing: JSON_FRAMING, subprotocol: undefined } });
  });

  it("takes the first subprotocol that is spoken here", () => {
    const { check } = setUp();
    expect(check({ subprotocols: ["starling.v1.msgpack"] })).toMatchObject({
      offer: { framing: MSGPACK_FRAMING, subprotocol: "starling.v1.msgpack" },
    });
    expect(check({ subprotocols: ["chat", "starling.v1.json", "starling.v1.msgpack"] })).toMatchObject({
      offer: { framing: JSON_FRAMING, subprotocol: "starling.v1.json" },
    });
  });

  it.each<[string, Partial<UpgradeRequest>, Partial<EdgeOptions>, number]>([
    ["upgrade", { upgrade: "" }, {}, 400],
    ["upgrade", { upgrade: "h2c" }, {}, 400],
    ["upgrade", { method: "POST" }, {}, 400],
    ["version", { version: "8" }, {}, 426],
    ["version", { version: "" }, {}, 426],
    ["key", { key: "" }, {}, 400],
    ["key", { key: "not base64 but 24 chars!" }, {}, 400],
    ["origin", { origin: "https://evil.example" }, { origins: ["https://app.example"] }, 403],
    ["origin", { origin: undefined }, { origins: ["https://app.example"], originRequired: true }, 403],
    ["origin", { origin: undefined }, { originRequired: true }, 403],
    ["origin", { origin: "null" }, { origins: ["https://app.example"] }, 403],
    ["origin", { origin: "https://app.example.evil.example" }, { origins: ["https://app.example"] }, 403],
    ["subprotocol", { subprotocols: ["mqtt"] }, {}, 400],
    ["subprotocol", { subprotocols: [""] }, {}, 400],
  ])("refuses by %s: %o", (reason, request, options, status) => {
    const { check, stats } = setUp(options);
    expect(check(request)).toMatchObject({ status });
    expect([...stats.rejects]).toEqual([[reason, 1]]);
  });

  it("names the version it wants where it refuses another (RFC 6455 4.4)", () => {
    expect(setUp().check({ version: "7" })).toMatchObject({ headers: { "sec-websocket-version": "13" } });
  });

  it("compares the Upgrade header without case", () => {
    expect(setUp().check({ upgrade: "WebSocket" })).not.toHaveProperty("status");
  });

  it("admits exactly the listed origins, and who sends none: no browser", () => {
    const { check } = setUp({ origins: ["https://app.example"] });
    for (const origin of ["https://app.example", "https://App.example", undefined]) {
      expect(check({ origin }), origin).not.toHaveProperty("status");
    }
    expect(setUp({ originRequired: true }).check({ origin: "https://any.example" })).not.toHaveProperty(
      "status",
    );
  });

  it("finds a subprotocol in a second header, and looks for one only where the first has none", () => {
    const { check } = setUp();
    const allSubprotocols = ["chat", "starling.v1.msgpack"];
    expect(check({ subprotocols: ["chat"], allSubprotocols })).toMatchObject({
      offer: { framing: MSGPACK_FRAMING, subprotocol: "starling.v1.msgpack" },
    });
    expect(check({ subprotocols: ["chat"], allSubprotocols: ["chat", "mqtt"] })).toMatchObject({
      status: 400,
      message: expect.stringContaining('"chat, mqtt"') as string,
    });
    const request = {
      ...UPGRADE,
      subprotocols: ["starling.v1.json"],
      get allSubprotocols(): string[] {
        throw new Error("read");
      },
    };
    expect(setUp().admissions.check(request)).toMatchObject({ offer: { framing: JSON_FRAMING } });
  });

  it("refuses with 503 when the node is full", () => {
    const { check, stats } = setUp({ maxConnections: 2 });
    stats.connections = 2;
    expect(check()).toMatchObject({ status: 503 });
    stats.connections = 1;
    expect(check()).not.toHaveProperty("status");
  });

  it("holds each address to its number, and frees what left", () => {
    const { come, admissions, stats } = setUp({ maxConnectionsPerIp: 2 });
    const client = {};
    come({}, client);
    come();
    expect(come()).toMatchObject({
      status: 429,
      message: "connection limit for 10.0.0.1 reached (maxConnectionsPerIp 2)",
    });
    expect(come(ip(2))).not.toHaveProperty("status");
    admissions.left(client);
    admissions.left(client);
    expect(come()).not.toHaveProperty("status");
    expect(come()).toMatchObject({ status: 429 });
    expect(stats.rejects.get("ip_full")).toBe(2);
    expect(admissions.addresses).toBe(2);
  });

  it("does not count an address for a request that it refuses", () => {
    const { come } = setUp({ maxConnectionsPerIp: 1 });
    for (let i = 0; i < 5; i++) come({ version: "1" });
    expect(come()).not.toHaveProperty("status");
  });

  it("pushes out the oldest unauthenticated connection when there are too many", () => {
    const { come, admissions, evicted, stats } = setUp({ maxUnauthenticated: 2 }, true);
    const [first, second] = [{}, {}];
    come({}, first);
    come({}, second);
    admissions.authenticated(first);
    for (let i = 0; i < 2; i++) expect(come()).not.toHaveProperty("status");
    expect(evicted).toEqual(["unauthenticated connection limit reached (maxUnauthenticated 2)"]);
    expect(stats.rejects.get("unauthenticated_full")).toBe(1);
    expect(admissions.unauthenticated).toBe(2);
    admissions.left(second);
    expect(admissions.unauthenticated).toBe(2);
  });

  it("holds an address to its share of the unauthenticated once half of the places are taken", () => {
    const { come, stats } = setUp({ maxUnauthenticated: 20, sharePerIpPercent: 10 }, true);
    for (let i = 0; i < 12; i++) expect(come(), String(i)).not.toHaveProperty("status");
    expect(come()).toMatchObject({
      status: 429,
      headers: { "retry-after": "1" },
      message:
        "unauthenticated connection limit for 10.0.0.1 reached (2, by sharePerIpPercent): authenticate those first",
    });
    expect(come(ip(2))).not.toHaveProperty("status");
    expect(stats.rejects.get("unauthenticated_ip")).toBe(1);
  });

  it("knows no unauthenticated connections where nobody has to authenticate", () => {
    const { come, admissions, evicted } = setUp({ maxUnauthenticated: 1, sharePerIpPercent: 1 }, false);
    for (let i = 0; i < 10; i++) expect(come()).not.toHaveProperty("status");
    expect([admissions.unauthenticated, evicted.length, admissions.addresses]).toEqual([0, 0, 0]);
  });

  it("holds an address to its share of newcomers once half of the burst is used up", () => {
    const { come, stats } = setUp({ upgradeRate: 1, upgradeBurst: 20, sharePerIpPercent: 10 });
    for (let i = 0; i < 12; i++) expect(come(), String(i)).not.toHaveProperty("status");
    expect(come()).toMatchObject({
      status: 429,
      headers: { "retry-after": "1" },
      message: "connection rate limit for 10.0.0.1 reached (0.1/s, burst 2, by sharePerIpPercent)",
    });
    expect(come(ip(2))).not.toHaveProperty("status");
    expect(stats.rejects.get("upgrade_rate_ip")).toBe(1);
  });

  it("takes as many newcomers as the rate and its burst allow, and refuses the rest with 429", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const { check, stats } = setUp({ upgradeRate: 10, upgradeBurst: 2 });
      for (let i = 0; i < 2; i++) expect(check()).not.toHaveProperty("status");
      expect(check()).toMatchObject({ status: 429, headers: { "retry-after": "1" } });
      expect(stats.rejects.get("upgrade_rate")).toBe(1);
      vi.advanceTimersByTime(100);
      expect(check()).not.toHaveProperty("status");
      expect(check()).toMatchObject({ status: 429 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("takes nothing from the rate, nor from an address, for a request that it refuses", () => {
    const { come, stats } = setUp({ upgradeRate: 1, upgradeBurst: 2, maxConnectionsPerIp: 1 });
    for (let i = 0; i < 5; i++) come({ version: "1" });
    expect(come()).not.toHaveProperty("status");
    for (let i = 0; i < 5; i++) expect(come()).toMatchObject({ status: 429 });
    expect(come(ip(2))).not.toHaveProperty("status");
    expect(come(ip(3))).toMatchObject({ status: 429 });
    expect([...stats.rejects]).toEqual([
      ["version", 5],
      ["ip_full", 5],
      ["upgrade_rate", 1],
    ]);
  });

  it("sets no rate where it is 0", () => {
    const { check } = setUp({ upgradeRate: 0, upgradeBurst: 1 });
    for (let i = 0; i < 50; i++) expect(check()).not.toHaveProperty("status");
  });

  it("refuses with 429 and a time to come back while draining", () => {
    const { check, admissions } = setUp();
    admissions.drain();
    expect(check()).toMatchObject({ status: 429, headers: { "retry-after": "1" } });
  });
});
