import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { App, Apps } from "../../../src/core/app.js";
import { reloadApps } from "../../../src/core/app-reload.js";
import { DEFAULT_RULES } from "../../../src/core/channel-rules.js";
import { collectGarbage } from "../../../src/heap.js";
import { authorizer, identity, startEdge, type TestEdge } from "./harness.js";

const settings = (id: string, more: Partial<App> = {}) => ({
  id,
  authorizer: authorizer(),
  rulesOf: () => DEFAULT_RULES,
  ...more,
});

/** Bytes of this process's heap that are in use. */
function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

describe("apps", () => {
  it("are refused without main, and where two have one id", () => {
    const message = "apps must have ids of their own, one of them main";
    expect(() => new Apps([settings("shop")])).toThrow(message);
    expect(() => new Apps([settings("main"), settings("a"), settings("a")])).toThrow(message);
  });

  it("keep their objects when they are reloaded, and take every setting", () => {
    const apps = new Apps([settings("main"), settings("shop", { maxConnections: 1 }), settings("blog")]);
    const [main, shop, blog] = [apps.main, apps.get("shop")!, apps.get("blog")!];
    shop.connections = 1;
    const again = settings("shop", { keys: [{ key: "k", secret: "s" }] });
    expect(apps.reload([settings("main"), again, settings("news")])).toEqual([blog]);
    expect([...apps].map(({ id }) => id)).toEqual(["main", "shop", "news"]);
    expect([apps.main, apps.get("shop")]).toEqual([main, shop]);
    expect(shop).toMatchObject({ ...again, maxConnections: Infinity, connections: 1 });
    expect(() => apps.reload([again])).toThrow(/one of them main/);
    expect(apps.get("blog")).toBeUndefined();
    expect(apps.get("news")).toBeInstanceOf(App);
  });

  it("keep nothing of names that no channel can have, which clients may ask for in any number", () => {
    const app = new App(settings("main"));
    const before = heldBytes();
    for (let i = 0; i < 1000; i++) app.keyOf(randomBytes(32_768).toString("hex"));
    expect(heldBytes() - before).toBeLessThan(10_000_000);
    expect(app.keyOf("room")).toBe("main/room");
  });
});

describe("an edge with apps", () => {
  let edge: TestEdge;
  afterEach(async () => {
    vi.useRealTimers();
    await edge.stop();
  });

  it("refuses an app's connections beyond its limit, and no other's", async () => {
    edge = await startEdge({ apps: [new App(settings("shop", { maxConnections: 1 }))] });
    const first = edge.connect({ query: "app=shop" });
    expect(() => edge.connect({ query: "app=shop" })).toThrow(
      'refused: 503 connection limit of app "shop" on this node reached (its maxConnections 1)',
    );
    expect(edge.stats.rejects.get("app_full")).toBe(1);
    edge.connect();
    first.leave(1000);
    expect(edge.edge.apps.get("shop")!.connections).toBe(0);
    edge.connect({ query: "app=shop" });
  });

  it("closes the connections of an app that is disabled, once, and says so", async () => {
    edge = await startEdge({ apps: [new App(settings("shop")), new App(settings("blog"))] });
    const [shop, blog] = [edge.connect({ query: "app=shop" }), edge.connect({ query: "app=blog" })];
    const disabled = [settings("main"), settings("shop", { enabled: false })];
    expect(await reloadApps(edge.edge, [...disabled, settings("blog")])).toBe(1);
    expect(shop.closedWith).toEqual({ code: 4502, reason: `app "shop" is disabled` });
    expect(blog.closedWith).toBeUndefined();
    expect(await reloadApps(edge.edge, [...disabled, settings("blog")])).toBe(0);
    expect(await reloadApps(edge.edge, disabled)).toBe(1);
    expect(blog.closedWith?.reason).toBe(`app "blog" is served no more`);
  });

  it("closes the connections of an app that is gone, also where they are very many", async () => {
    edge = await startEdge({ apps: [new App(settings("shop"))], options: { maxConnections: 2000 } });
    const sockets = Array.from({ length: 1200 }, () => edge.connect({ query: "app=shop" }));
    const main = edge.connect();
    expect(await reloadApps(edge.edge, [settings("main")])).toBe(1200);
    expect(new Set(sockets.map(({ closedWith }) => closedWith?.code))).toEqual(new Set([4502]));
    expect(sockets[0]!.closedWith?.reason).toBe(`app "shop" is served no more`);
    expect(main.closedWith).toBeUndefined();
  });

  it("closes a connection whose token ran out by a tolerance that was raised meanwhile", async () => {
    vi.useFakeTimers({ now: 1_000_000_000_000 });
    const expiring = (clockToleranceSeconds: number) =>
      authorizer({ anonymous: identity({ expiresAt: 1_000_000_002 }), clockToleranceSeconds });
    edge = await startEdge({ authorizer: expiring(0) });
    const socket = edge.connect();
    const app = edge.edge.apps.main;
    edge.edge.expiry.at(1_000_000_002, socket.handler);
    await reloadApps(edge.edge, [settings("main", { authorizer: expiring(3) })]);
    expect(edge.edge.apps.main).toBe(app);
    await vi.advanceTimersByTimeAsync(3500);
    expect(socket.closedWith).toBeUndefined();
    await vi.advanceTimersByTimeAsync(3000);
    expect(socket.closedWith?.code).toBe(4002);
  });
});
