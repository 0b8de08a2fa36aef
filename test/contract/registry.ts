/** What every ConnectionRegistry promises: run on memory and on a real Redis. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ConnectionRegistry } from "../../src/core/registry.js";
import { Stats } from "../../src/core/stats.js";
import { eventually } from "../support/eventually.js";
import { FakeConnection, FakeCore } from "../support/fake-connection.js";

export interface ContractSetup {
  create(options: {
    nodeId: string;
    sessionTtlMs: number;
    stats: Stats;
  }): ConnectionRegistry | Promise<ConnectionRegistry>;
}

export function registryContract(name: string, setup: ContractSetup): void {
  describe(`registry on ${name}`, () => {
    let registry: ConnectionRegistry;
    let core: FakeCore;
    let stats: Stats;

    async function begin(sessionTtlMs = 60_000): Promise<void> {
      core = new FakeCore();
      stats = new Stats();
      registry = await setup.create({ nodeId: "a", sessionTtlMs, stats });
      await registry.start(core);
    }

    const put = (id: string, channels: string[] = []): FakeConnection => {
      const connection = new FakeConnection(id, channels);
      core.live.set(id, connection);
      registry.put(connection);
      return connection;
    };

    const remove = (connection: FakeConnection, resumable: boolean): void => {
      core.live.delete(connection.id);
      registry.remove(connection, resumable);
    };

    beforeEach(() => begin());
    afterEach(() => registry.stop());

    it("is registered once it started", async () => {
      expect(core.registrations).toEqual([true]);
      expect(registry.checkLease(performance.now())).toBe(true);
      expect(await registry.nodes()).toEqual(["a"]);
    });

    it("counts what was put and not removed", async () => {
      const connections = Array.from({ length: 25 }, (_, at) => put(`a.${at}`, ["room"]));
      expect(stats.registrySize).toBe(25);
      await eventually(async () => expect(await registry.totals()).toEqual({ nodes: 1, connections: 25 }));
      for (const connection of connections.slice(0, 10)) remove(connection, true);
      expect(stats.registrySize).toBe(15);
      await eventually(async () => expect(await registry.totals()).toEqual({ nodes: 1, connections: 15 }));
    });

    it("has told everything that was recorded", async () => {
      const old = put("a.1", ["room", "left"]);
      await registry.recorded();
      expect(await registry.totals()).toEqual({ nodes: 1, connections: 1 });
      old.channels = ["room"];
      registry.put(old);
      remove(put("a.2"), false);
      await registry.recorded();
      expect(await registry.totals()).toEqual({ nodes: 1, connections: 1 });
      expect(registry.recorded()).toBeUndefined();
    });

    it("keeps nothing of a connection that came and went in one turn", async () => {
      remove(put("a.1"), false);
      put("a.2");
      await eventually(async () => expect((await registry.totals()).connections).toBe(1));
      expect(stats.registrySize).toBe(1);
    });

    it("gives a session back after its connection went", async () => {
      const old = put("a.1", ["room", "news"]);
      old.userId = "42";
      remove(old, true);
      const by = put("a.2");
      by.userId = "42";
      const result = await registry.take("s-a.1", old.resumeSecret, by);
      expect(result.taken).toEqual({
        session: "s-a.1",
        app: "main",
        userId: "42",
        channels: ["room", "news"],
      });
      expect(core.supersededIds).toEqual([]);
    });

    it("gives the channels as they are, not as they were when first put", async () => {
      const old = put("a.1", ["room"]);
      await eventually(async () => expect((await registry.totals()).connections).toBe(1));
      old.channels = ["room", "late"];
      registry.put(old);
      expect(await put("a.2").resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room", "late"]);
    });

    it("gives a session to exactly one of those that ask at once", async () => {
      const old = put("a.1", ["room"]);
      remove(old, true);
      const takers = Array.from({ length: 10 }, (_, at) => put(`a.${at + 2}`));
      const results = await Promise.all(takers.map((by) => registry.take("s-a.1", old.resumeSecret, by)));
      expect(results.filter((result) => result.taken !== undefined)).toHaveLength(1);
      for (const result of results) {
        if (result.taken === undefined) expect(result.reason).toBe("wrong_secret");
      }
    });

    it("moves the session on to the secret of whoever took it", async () => {
      const first = put("a.1", ["room"]);
      remove(first, true);
      const second = put("a.2");
      await second.resume(registry, "s-a.1", first.resumeSecret);
      second.channels.push("more");
      registry.put(second);
      remove(second, true);
      const third = put("a.3");
      await expect(third.resume(registry, "s-a.1", first.resumeSecret)).rejects.toThrow("wrong_secret");
      expect(await third.resume(registry, "s-a.1", second.resumeSecret)).toEqual(["room", "more"]);
    });

    it("refuses a wrong secret and leaves the session as it was", async () => {
      const old = put("a.1", ["room"]);
      const by = put("a.2");
      expect(await registry.take("s-a.1", "guessed", by)).toEqual({
        taken: undefined,
        reason: "wrong_secret",
      });
      expect(core.supersededIds).toEqual([]);
      expect(await by.resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    });

    it.each([
      ["whose connection went", true],
      ["that is still held", false],
    ])("refuses a session %s to another user and leaves it to its own", async (_which, released) => {
      const old = put("a.1", ["room"]);
      old.userId = "José";
      if (released) remove(old, true);
      const by = put("a.2", ["own"]);
      for (const userId of ["jose", "Jose\u0301", null]) {
        by.userId = userId;
        expect(await registry.take("s-a.1", old.resumeSecret, by)).toEqual({
          taken: undefined,
          reason: "another_user",
        });
      }
      expect(core.supersededIds).toEqual([]);
      const right = put("a.3");
      right.userId = "José";
      expect(await right.resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
      expect(core.supersededIds).toEqual(released ? [] : ["a.1"]);
    });

    it("gives an anonymous session to whoever has its secret", async () => {
      const old = put("a.1", ["room"]);
      remove(old, true);
      const by = put("a.2");
      by.userId = "42";
      expect(await by.resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    });

    it("knows no session that never was, however it is named", async () => {
      const by = put("a.1");
      for (const session of ["s-nobody", "", "a b\n{x}", "x".repeat(5000)]) {
        expect(await registry.take(session, "secret", by)).toEqual({
          taken: undefined,
          reason: "unknown_session",
        });
      }
    });

    it("ends a session whose connection went for good", async () => {
      const old = put("a.1", ["room"]);
      await eventually(async () => expect((await registry.totals()).connections).toBe(1));
      remove(old, false);
      const result = await registry.take("s-a.1", old.resumeSecret, put("a.2"));
      expect(result).toEqual({ taken: undefined, reason: "unknown_session" });
    });

    it("ends a released session when its time-to-live does", async () => {
      await registry.stop();
      await begin(200);
      const old = put("a.1", ["room"]);
      const by = put("a.2");
      remove(old, true);
      const asked = await registry.take("s-a.1", "guessed", by);
      expect(asked).toEqual({ taken: undefined, reason: "wrong_secret" });
      await eventually(async () => {
        const again = await registry.take("s-a.1", "guessed", by);
        expect(again).toEqual({ taken: undefined, reason: "unknown_session" });
      });
      const late = await registry.take("s-a.1", old.resumeSecret, by);
      expect(late.taken).toBeUndefined();
    });

    it("keeps the session of a live connection longer than its time-to-live", async () => {
      await registry.stop();
      await begin(600);
      const old = put("a.1", ["room"]);
      const startedMs = performance.now();
      await eventually(() => expect(performance.now() - startedMs).toBeGreaterThan(2_400));
      expect(await put("a.2").resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    });

    it("keeps no session that has nothing to give back", async () => {
      const idle = put("a.1");
      remove(idle, true);
      const emptied = put("a.2", ["room"]);
      await eventually(async () => expect((await registry.totals()).connections).toBe(1));
      emptied.channels = [];
      registry.put(emptied);
      const by = put("a.3");
      for (const { sessionId, resumeSecret } of [idle, emptied]) {
        const result = await registry.take(sessionId, resumeSecret, by);
        expect(result).toEqual({ taken: undefined, reason: "unknown_session" });
      }
    });

    it("tells the connection that held the session, and heeds it no more", async () => {
      const old = put("a.1", ["room"]);
      const by = put("a.2");
      await by.resume(registry, "s-a.1", old.resumeSecret);
      expect(core.supersededIds).toEqual(["a.1"]);
      expect(stats.registrySize).toBe(1);
      // As core does when it closes the superseded socket.
      remove(old, false);
      by.channels.push("more");
      registry.put(by);
      expect(await put("a.3").resume(registry, "s-a.1", by.resumeSecret)).toEqual(["room", "more"]);
      expect(core.supersededIds).toEqual(["a.1", "a.2"]);
    });

    it("ends the own session of a connection that went on with another", async () => {
      const old = put("a.1", ["room"]);
      const by = put("a.2", ["own"]);
      await eventually(async () => expect((await registry.totals()).connections).toBe(2));
      await by.resume(registry, "s-a.1", old.resumeSecret);
      await eventually(async () => {
        const result = await registry.take("s-a.2", by.resumeSecret, put("a.3"));
        expect(result).toEqual({ taken: undefined, reason: "unknown_session" });
      });
    });

    it("gives a session back that was taken for a connection which closed meanwhile", async () => {
      const old = put("a.1", ["room"]);
      remove(old, true);
      const by = put("a.2");
      const taking = registry.take("s-a.1", old.resumeSecret, by);
      remove(by, true);
      await taking;
      expect(stats.registrySize).toBe(0);
      expect(await put("a.3").resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
    });

    it("gives a session back that the connection did not go on with", async () => {
      const old = put("a.1", ["room"]);
      remove(old, true);
      const stranger = put("a.2", ["own"]);
      const { taken } = await registry.take("s-a.1", old.resumeSecret, stranger);
      expect(taken?.channels).toEqual(["room"]);
      registry.put(stranger);
      const right = put("a.3");
      await eventually(async () => {
        expect(await right.resume(registry, "s-a.1", old.resumeSecret)).toEqual(["room"]);
      });
      expect(core.supersededIds).toEqual([]);
      remove(stranger, true);
      expect(await put("a.4").resume(registry, "s-a.2", stranger.resumeSecret)).toEqual(["own"]);
    });

    it("stops twice as well as once", async () => {
      put("a.1", ["room"]);
      await registry.stop();
      await registry.stop();
    });
  });
}
