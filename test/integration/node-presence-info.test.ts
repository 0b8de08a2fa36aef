/** What members show of themselves, through real nodes: from a token's claim to other clients, the SDK and the API. */

import { WebSocket } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { connect, watchPresence } from "../../src/client/index.js";
import type { Config } from "../../src/config.js";
import {
  CHAT_RULES,
  cleanUp,
  JWT_SECRET,
  startFleet,
  startTestNode,
  token,
  type InProcessNode,
} from "../support/nodes.js";
import { eventually } from "../support/eventually.js";
import type { Frame, RawClient } from "../support/raw-client.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const CHANNEL = "chat:1";
const OPTIONS: Partial<Config> = {
  namespaces: { chat: { ...CHAT_RULES, joinLeave: true }, quiet: { ...CHAT_RULES, presence: false } },
  jwtSecret: JWT_SECRET,
  presenceGraceMs: 1_000,
};
const kilobyte = (name: string): string => name.padEnd(1_022, ".");

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(cleanUp);

type Client = RawClient & { welcome: Frame };

async function userOf(
  node: InProcessNode,
  user: string,
  info?: unknown,
  subprotocol?: string,
): Promise<Client> {
  const path = `/?token=${await token({ sub: user, info })}`;
  const client = await node.client(subprotocol === undefined ? { path } : { path, subprotocol });
  await client.do("subscribe", { channel: CHANNEL });
  return client;
}

const of = (type: string, user: string) => (frame: Frame) => frame.type === type && frame["user"] === user;
const infosOf = (frame: Frame): Record<string, unknown> =>
  Object.fromEntries((frame["members"] as Frame[]).map(({ user, info }) => [String(user), info]));

describe.each([
  ["in memory", () => Promise.all([startTestNode(OPTIONS)])],
  ["over Redis", () => startFleet(3, redis, OPTIONS)],
])("what members show, %s", (_where, start) => {
  it("is told with joins and answers, to clients of both subprotocols and by the API", async () => {
    const nodes: InProcessNode[] = await start();
    const [here, there] = [nodes[0]!, nodes.at(-1)!];
    const text = await userOf(here, "text", ["text"]);
    const packed = await userOf(here, "packed", undefined, "starling.v1.msgpack");
    await packed.next(of("join", "packed"));
    const ann = await userOf(there, "ann", { name: "Ann", age: 7 });
    for (const watcher of [text, packed]) {
      expect((await watcher.next(of("join", "ann")))["info"]).toEqual({ name: "Ann", age: 7 });
      const asked = await watcher.do("presence", { channel: CHANNEL });
      expect(infosOf(asked)).toEqual({ ann: { name: "Ann", age: 7 }, packed: undefined, text: ["text"] });
    }
    const { body } = await there.get<Frame>(`/v1/channels/${CHANNEL}/presence`);
    expect(infosOf(body)).toEqual({ ann: { name: "Ann", age: 7 }, packed: undefined, text: ["text"] });
    ann.terminate();
    expect(await text.next(of("leave", "ann"))).not.toHaveProperty("info");
  });

  it("is another in all channels after a refresh with a token that says so, or nothing", async () => {
    const nodes: InProcessNode[] = await start();
    const watcher = await userOf(nodes[0]!, "watcher");
    const ann = await userOf(nodes.at(-1)!, "ann", 1);
    await watcher.next(of("join", "ann"));
    for (const channel of ["chat:2", "quiet:1"]) {
      await watcher.do("subscribe", { channel });
      await ann.do("subscribe", { channel });
    }
    await watcher.next((frame) => of("join", "ann")(frame) && frame["channel"] === "chat:2");
    for (const info of [{ n: 2 }, { n: 2 }, null, 0]) {
      await ann.do("refresh", { token: await token({ sub: "ann", info }) });
    }
    for (const channel of [CHANNEL, "chat:2"]) {
      const ofChannel = (frame: Frame): boolean => of("update", "ann")(frame) && frame["channel"] === channel;
      await watcher.next((frame) => ofChannel(frame) && frame["info"] === 0);
      const updates = watcher.frames.filter(ofChannel);
      // Over Redis those of one batch are one.
      expect([[{ n: 2 }, undefined, 0], [undefined, 0], [{ n: 2 }, 0], [0]]).toContainEqual(
        updates.map((frame) => frame["info"] as unknown),
      );
      expect(infosOf(await watcher.do("presence", { channel }))).toMatchObject({ ann: 0 });
    }
  });

  it("reaches the SDK's rosters", async () => {
    const nodes: InProcessNode[] = await start();
    const client = connect(nodes[0]!.wsUrl, {
      token: await token({ sub: "watcher" }),
      WebSocket: WebSocket,
    });
    onTestFinished(() => client.close());
    const roster = watchPresence(client, CHANNEL, () => undefined);
    const shown = (): Record<string, unknown> =>
      Object.fromEntries(roster.members.map(({ user, info }) => [String(user), info]));
    const ann = await userOf(nodes.at(-1)!, "ann", { name: "Ann" });
    await eventually(() => expect(shown()).toEqual({ watcher: undefined, ann: { name: "Ann" } }));
    await ann.do("refresh", { token: await token({ sub: "ann", info: { name: "Anna" } }) });
    await eventually(() => expect(shown()).toEqual({ watcher: undefined, ann: { name: "Anna" } }));
    // On another connection, within the grace.
    ann.terminate();
    await userOf(nodes[0]!, "ann", { name: "Annabel" });
    await eventually(() => expect(shown()).toMatchObject({ ann: { name: "Annabel" } }));
  });

  it("comes whole with 200 members of a kilobyte each", async () => {
    const nodes: InProcessNode[] = await start();
    const names = Array.from({ length: 200 }, (_, at) => `user-${at}`);
    for (const [at, name] of names.entries()) await userOf(nodes[at % nodes.length]!, name, kilobyte(name));
    const expected = Object.fromEntries(names.map((name) => [name, kilobyte(name)]));
    for (const node of nodes) {
      await eventually(async () => {
        const { body } = await node.get<Frame>(`/v1/channels/${CHANNEL}/presence?limit=1000`);
        expect(infosOf(body)).toEqual(expected);
      });
    }
    const watcher = await userOf(nodes[0]!, "user-0", kilobyte("user-0"));
    const asked = await watcher.do("presence", { channel: CHANNEL, limit: 1_000 });
    expect(infosOf(asked)).toEqual(expected);
    expect(asked).toMatchObject({ users: 200, connections: 201 });
  });
});

it("is refused where it is more than a kilobyte, with its size and the limit", async () => {
  const node = await startTestNode(OPTIONS);
  const client = await node.client();
  await client.do("subscribe", { channel: CHANNEL }).catch(() => undefined);
  const refused = await client.ask("connect", {
    token: await token({ sub: "ann", info: "x".repeat(1_023) }),
  });
  expect(refused).toMatchObject({
    code: "token_invalid",
    message: '"info" claim has 1025 bytes as compact JSON, at most 1024 are allowed',
  });
  await client.do("connect", { token: await token({ sub: "ann", info: "x".repeat(1_022) }) });
});
