import { describe, expect, it } from "vitest";
import { configurationOf } from "../../../bench/peers/centrifugo.js";
import { peerByName } from "../../../bench/peers/index.js";
import { participants, unavailableOf } from "../../../bench/runner/run.js";
import { parseCommand } from "../../../bench/command.js";
import { scenarios } from "../../../bench/scenarios/index.js";

describe("Centrifugo as a peer", () => {
  it("keeps everything in memory as one node, and in Redis where there is one", () => {
    expect(configurationOf({ port: 8000 }).engine).toEqual({ type: "memory" });
    const { http_server, engine } = configurationOf({ port: 8001, redisUrl: "redis://127.0.0.1:6379" });
    expect(http_server).toEqual({ address: "127.0.0.1", port: 8001 });
    expect(engine).toEqual({ type: "redis", redis: { address: "redis://127.0.0.1:6379" } });
  });

  it("keeps history and presence in the namespaces of those scenarios only", () => {
    const { without_namespace: plain, namespaces } = configurationOf({ port: 8000 }).channel;
    const kept = [plain, ...namespaces].map((each) => ["history_size" in each, "presence" in each]);
    expect(kept).toEqual([
      [false, false],
      [true, false],
      [false, true],
    ]);
  });

  it("is left out, and says how to get it, where no binary is given", async () => {
    const peers = [await peerByName("raw"), await peerByName("centrifugo")];
    const { options } = parseCommand(["ingest"]);
    const [ingest] = scenarios.ingest.cases(options);
    expect(participants(ingest!, peers, options)).toEqual({ running: [peers[0]], skipped: [] });
    expect(unavailableOf(peers)).toEqual([
      expect.stringMatching(
        /^centrifugo is not available: give its binary with --centrifugo PATH; https:.* or go install /,
      ),
    ]);
    await expect(peers[1]!.start({ nodes: 1, features: {} })).rejects.toThrow("centrifugo is not available");
  });

  it.each([
    ["/bin/echo", '/bin/echo is not Centrifugo: its answer to "version" is "version"; https:'],
    ["/nowhere/centrifugo", "/nowhere/centrifugo could not be run: spawn /nowhere/centrifugo ENOENT"],
  ])("is left out, and says why, where the binary is %s", async (centrifugo, why) => {
    const { unavailable, version } = await peerByName("centrifugo", { centrifugo });
    expect(unavailable).toContain(why);
    expect(version).toBeUndefined();
  });

  it("has history and presence, but neither Starling's API nor its workers", async () => {
    const { unavailable: _, ...peer } = await peerByName("centrifugo");
    const runs = (...argv: string[]): boolean => {
      const { options, scenarios: named } = parseCommand(argv);
      const [first] = scenarios[named[0]!].cases(options);
      return participants(first!, [peer], options).running.length === 1;
    };
    const able = ["connect", "fanout", "ingest", "bridge", "history", "presence", "reconnect", "idle"];
    expect(able.filter((name) => !runs(name))).toEqual([]);
    expect([runs("http"), runs("idle", "--workers", "2")]).toEqual([false, false]);
  });
});
