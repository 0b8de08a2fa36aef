/** Whom a publication is not meant for, in channels that keep history: clients that count offsets would miss one. */

import { afterEach, describe, expect, it } from "vitest";

import type { BusPublication } from "../../../src/core/broker.js";
import { DEFAULT_RULES, type ChannelRules } from "../../../src/core/channel-rules.js";
import type { Protocol } from "../../../src/core/protocol.js";
import { Encoding } from "../../../src/encoding/payload.js";
import { FRAMINGS } from "../../../src/protocols/starling/framing.js";
import { starlingProtocol } from "../../../src/protocols/starling/protocol.js";
import { startEdge, turn, type FakeSocket, type TestEdge } from "./harness.js";

const RULES: ChannelRules = { ...DEFAULT_RULES, history: { size: 10, ttlMs: 60_000 }, recovery: true };
const KEY = "main/room";

/** As the native one, but for clients that know of no offsets. */
const framing = { ...FRAMINGS[0]!, topicPrefix: "plain", positions: false };
const plainProtocol: Protocol = {
  ...starlingProtocol,
  name: "plain",
  framings: [framing],
  admit(upgrade, apps) {
    const offer = upgrade.path === "/plain" ? starlingProtocol.admit(upgrade, apps) : undefined;
    return offer !== undefined && "framing" in offer ? { ...offer, framing } : offer;
  },
};

let test: TestEdge;
afterEach(() => test.stop());

async function start(): Promise<void> {
  test = await startEdge({ protocols: [plainProtocol, starlingProtocol], rulesOf: () => RULES });
}

type Client = ReturnType<TestEdge["connect"]>;

async function subscribed(path: "/plain" | "/"): Promise<Client> {
  const socket = test.connect({ path });
  socket.type({ action: "subscribe", id: 1, channel: "room" });
  await turn();
  expect(socket.last).toMatchObject({ type: "reply", id: 1 });
  return socket;
}

const contents = (socket: FakeSocket): unknown[] => socket.of("message").map(({ content }) => content);

const kept = (offset: number, exclude?: string): BusPublication => ({
  key: KEY,
  payload: { bytes: Buffer.from(String(offset)), encoding: Encoding.json },
  from: undefined,
  event: undefined,
  tags: undefined,
  exclude,
  position: { offset, epoch: "e" },
  publishedAtMs: Date.now(),
});

describe("an exclusion from a channel with history", () => {
  it("is obeyed for clients without offsets, and ignored for those that would miss one", async () => {
    await start();
    const [plain, otherPlain] = [await subscribed("/plain"), await subscribed("/plain")];
    const [native, otherNative] = [await subscribed("/"), await subscribed("/")];
    test.broker.deliver(kept(1, plain.handler.id));
    test.broker.deliver(kept(2, native.handler.id));
    test.broker.deliver(kept(3, "elsewhere.1"));
    expect(contents(plain)).toEqual([2, 3]);
    for (const socket of [otherPlain, native, otherNative]) expect(contents(socket)).toEqual([1, 2, 3]);
    expect(native.of("message").map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });

  it("is obeyed in what is sent from history, by either name of the connection", async () => {
    await start();
    for (const path of ["/plain", "/"] as const) {
      const socket = test.connect({ path });
      const { id } = socket.handler;
      const number = test.edge.identifiers.numberOf(id);
      const publications = [kept(1), kept(2, id), kept(3), kept(4, number), kept(5, "1.2")];
      test.broker.history = () => Promise.resolve({ publications, top: { offset: 5, epoch: "e" } });
      socket.type({ action: "subscribe", id: 1, channel: "room", since: { offset: 0, epoch: "e" } });
      await turn();
      expect(contents(socket)).toEqual(path === "/plain" ? [1, 3, 5] : [1, 2, 3, 4, 5]);
    }
  });

  it("keeps nobody from the last publication who subscribes after it", async () => {
    test = await startEdge({
      protocols: [plainProtocol, starlingProtocol],
      rulesOf: () => ({ ...RULES, replayLast: true }),
    });
    for (const path of ["/plain", "/"] as const) {
      const socket = test.connect({ path });
      const publications = [kept(5, test.edge.identifiers.numberOf(socket.handler.id))];
      test.broker.history = () => Promise.resolve({ publications, top: { offset: 5, epoch: "e" } });
      socket.type({ action: "subscribe", id: 1, channel: "room" });
      await turn();
      expect(contents(socket)).toEqual([5]);
    }
  });

  it("takes nothing from the others where the excluded is kept off the topic, as a slow reader is", async () => {
    await start();
    const [slow, other] = [await subscribed("/plain"), await subscribed("/plain")];
    const channel = test.edge.hub.channels.get(KEY)!;
    slow.handler.leaveTopic(channel);
    slow.handler.skipped = new Map([[channel, undefined]]);
    channel.skipped++;
    test.broker.deliver(kept(1, slow.handler.id));
    expect([contents(slow), contents(other)]).toEqual([[], [1]]);
  });

  it("may be asked for by clients without offsets only", async () => {
    await start();
    const [plain, native] = [await subscribed("/plain"), await subscribed("/")];
    for (const socket of [plain, native]) {
      socket.type({ action: "send", id: 2, channel: "room", content: 1, echo: false });
    }
    expect(native.last).toMatchObject({ type: "error", id: 2, code: "bad_request" });
    expect(test.broker.published.map(({ exclude }) => exclude)).toEqual([plain.handler.id]);
  });
});
