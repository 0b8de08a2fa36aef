import { describe, expect, it, vi } from "vitest";
import { Admissions } from "../../../src/core/admission.js";
import type { EdgeOptions } from "../../../src/core/options.js";
import { Stats } from "../../../src/core/stats.js";
import type { UpgradeRequest } from "../../../src/core/transport.js";
import { OPTIONS, UPGRADE } from "./harness.js";

function setUp(options: Partial<EdgeOptions> = {}) {
  const stats = new Stats();
  const admissions = new Admissions({ ...OPTIONS, ...options }, stats);
  const check = (request: Partial<UpgradeRequest> = {}) => admissions.check({ ...UPGRADE, ...request });
  return { stats, admissions, check };
}

describe("admission", () => {
  it("admits a client that offers no subprotocol as JSON, without naming one", () => {
    expect(setUp().check()).toEqual({ codecIndex: 0, subprotocol: undefined });
  });

  it("takes the first subprotocol that is spoken here", () => {
    const { check } = setUp();
    expect(check({ subprotocols: ["starling.v1.msgpack"] })).toEqual({
      codecIndex: 1,
      subprotocol: "starling.v1.msgpack",
    });
    expect(check({ subprotocols: ["chat", "starling.v1.json", "starling.v1.msgpack"] })).toEqual({
      codecIndex: 0,
      subprotocol: "starling.v1.json",
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
    ["origin", { origin: undefined }, { origins: ["https://app.example"] }, 403],
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

  it("admits exactly the listed origins", () => {
    const { check } = setUp({ origins: ["https://app.example"] });
    expect(check({ origin: "https://app.example" })).not.toHaveProperty("status");
  });

  it("refuses with 503 when the node is full", () => {
    const { check, stats } = setUp({ maxConnections: 2 });
    stats.connections = 2;
    expect(check()).toMatchObject({ status: 503 });
    stats.connections = 1;
    expect(check()).not.toHaveProperty("status");
  });

  it("holds each address to its number, and frees what left", () => {
    const { check, admissions, stats } = setUp({ maxConnectionsPerIp: 2 });
    check();
    check();
    expect(check()).toMatchObject({ status: 429 });
    expect(check({ ip: "10.0.0.2" })).not.toHaveProperty("status");
    admissions.left("10.0.0.1");
    expect(check()).not.toHaveProperty("status");
    expect(check()).toMatchObject({ status: 429 });
    expect(stats.rejects.get("ip_full")).toBe(2);
  });

  it("does not count an address for a request that it refuses", () => {
    const { check } = setUp({ maxConnectionsPerIp: 1 });
    for (let i = 0; i < 5; i++) check({ version: "1" });
    expect(check()).not.toHaveProperty("status");
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
    const { check, stats } = setUp({ upgradeRate: 1, upgradeBurst: 2, maxConnectionsPerIp: 1 });
    for (let i = 0; i < 5; i++) check({ version: "1" });
    expect(check()).not.toHaveProperty("status");
    for (let i = 0; i < 5; i++) expect(check()).toMatchObject({ status: 429 });
    expect(check({ ip: "10.0.0.2" })).not.toHaveProperty("status");
    expect(check({ ip: "10.0.0.3" })).toMatchObject({ status: 429 });
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
