import { afterEach, describe, expect, it, vi } from "vitest";
import { parseCommand } from "../../../bench/command.js";
import { peerByName } from "../../../bench/peers/index.js";
import { clientEventFrom } from "../../../bench/peers/servers/client-event.js";
import { configurationOf } from "../../../bench/peers/soketi.js";
import { protocolByName } from "../../../bench/protocols/index.js";
import { signedPath } from "../../../bench/protocols/pusher-api.js";
import { participants, unavailableOf } from "../../../bench/runner/run.js";
import { scenarios } from "../../../bench/scenarios/index.js";
import type { Peer } from "../../../bench/types.js";

afterEach(() => vi.useRealTimers());

describe("a request of Pusher's API", () => {
  it("is signed as in Pusher's documentation", () => {
    vi.useFakeTimers({ now: 1_353_088_179_000 });
    const api = {
      url: "http://127.0.0.1:6001/apps/3",
      key: "278d425bdf160c739803",
      secret: "7ad3773142a6692b25b8",
    };
    const body = '{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}';
    expect(signedPath(api, "events", body)).toBe(
      "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0" +
        "&body_md5=ec365a775a4cd0599faeb73354201b6f" +
        "&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
    );
  });
});

describe("the raw server's client event", () => {
  it.each(["x", 'quotes " and \\', "é 🐦", ""])("is delivered with its data as a string: %j", (content) => {
    const sent = protocolByName("pusher", { secret: "s" }).publish("c", content, false);
    const { channel, frame } = clientEventFrom(sent)!;
    expect(channel).toBe("private-c");
    const data = JSON.stringify({ content });
    expect(frame).toBe(JSON.stringify({ channel: "private-c", event: "client-bench", data }));
  });

  it("is none where the frame is another", () => {
    const protocol = protocolByName("pusher", { secret: "s" });
    expect(clientEventFrom(protocol.subscribe("c"))).toBeUndefined();
    expect(clientEventFrom(protocol.pong!)).toBeUndefined();
  });
});

describe("Soketi as a peer", () => {
  const ports = { port: 6001, statusPort: 6002, discoveryPort: 6003 };

  it("has its local adapter as one node, and Redis where there is one", () => {
    expect(configurationOf(ports)).not.toHaveProperty(["adapter.driver"]);
    expect(configurationOf({ ...ports, redisUrl: "redis://127.0.0.1:6379" })).toMatchObject({
      port: 6001,
      "adapter.driver": "redis",
      "database.redis.host": "127.0.0.1",
      "database.redis.port": 6379,
    });
  });

  it("speaks to nobody but this machine", () => {
    const hosts = Object.entries(configurationOf(ports)).filter(([name]) => /host|unicast/.test(name));
    expect(hosts.map(([, value]) => value)).toEqual(Array(4).fill("127.0.0.1"));
  });

  it("is left out, and says how to get it, where no folder is given", async () => {
    const peers = [await peerByName("raw"), await peerByName("soketi")];
    const { options } = parseCommand(["connect"]);
    const [connect] = scenarios.connect.cases(options);
    expect(participants(connect!, peers, options)).toEqual({ running: [peers[0]], skipped: [] });
    expect(unavailableOf(peers)).toEqual([
      expect.stringMatching(/^soketi is not available: give the folder .* --soketi FOLDER; npm install /),
    ]);
    await expect(peers[1]!.start({ nodes: 1, features: {} })).rejects.toThrow("soketi is not available");
  });

  it("is left out, and says why, where the folder has none", async () => {
    const { unavailable, version } = await peerByName("soketi", { soketi: "/nowhere" });
    expect(unavailable).toContain("/nowhere has no node_modules/@soketi/soketi: npm install ");
    expect(version).toBeUndefined();
  });
});

describe("who runs what over the Pusher protocol", () => {
  const namesOf = async (...argv: string[]): Promise<string[]> => {
    const { options, scenarios: named } = parseCommand(argv);
    const { unavailable: _, ...soketi } = await peerByName("soketi");
    const peers: Peer[] = [
      ...(await Promise.all(
        (["starling", "starling-pusher", "raw-pusher"] as const).map((name) => peerByName(name)),
      )),
      soketi,
    ];
    return scenarios[named[0]!].cases(options).map((each) => {
      const running = participants(each, peers, options).running.map(({ name }) => name);
      return `${each.variant.split(",")[0]}: ${running.join(" ")}`;
    });
  };

  it("presence and events have those that keep members and have its API", async () => {
    expect(await namesOf("presence", "--subscribers", "10")).toEqual([
      "50 x 10: starling starling-pusher soketi",
      "joins: starling starling-pusher soketi",
    ]);
    expect(await namesOf("http")).toEqual([
      "publish: starling",
      "publish-many: starling",
      "events: starling-pusher soketi",
    ]);
  });

  it("history has nobody, and acknowledgements neither", async () => {
    expect(await namesOf("history", "--subscribers", "10")).toEqual(["2 nodes: starling"]);
    expect(await namesOf("ingest")).toEqual(["1 x 1: starling starling-pusher raw-pusher soketi"]);
    expect(await namesOf("ingest", "--ack")).toEqual(["1 x 1: starling"]);
  });
});
