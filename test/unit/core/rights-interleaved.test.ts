/** Rights that are answered at random times, in any order, while connections come and go. */

import { describe, expect, it } from "vitest";
import type { Rights } from "../../../src/core/authorizer.js";
import { StarlingError } from "../../../src/core/errors.js";
import { Grant } from "../../../src/core/grant.js";
import { authorizer, startEdge, turn, type FakeSocket } from "./harness.js";

/** Numbers from 0 on below `below`, the same for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface Question {
  readonly client: string;
  readonly channel: string;
  readonly publishing: boolean;
  settle(): void;
}

interface Client {
  readonly id: string;
  readonly socket: FakeSocket & {
    readonly handler: { readonly grants: unknown; channelNames(): readonly string[] };
  };
  /** Actions that were sent without being pings, by their ids. */
  readonly sent: { readonly id: number; readonly action: string; readonly channel: string }[];
  left: boolean;
}

const CHANNELS = ["a", "b", "c"];

async function run(seed: number): Promise<void> {
  const pick = random(seed);
  const questions: Question[] = [];
  /** `client channel` that were granted last, or refused. */
  const allowed = new Map<string, boolean>();
  const ask =
    (publishing: boolean) =>
    ({ id }: { id: string }, channel: string): Grant | Promise<Grant> => {
      const answer = pick(4) > 0;
      const refusal = new StarlingError("forbidden", "no");
      if (pick(3) === 0) {
        if (!answer) throw refusal;
        if (!publishing) allowed.set(`${id} ${channel}`, true);
        return new Grant();
      }
      return new Promise((resolve, reject) => {
        const settle = (): void => {
          if (!answer) return reject(refusal);
          if (!publishing) allowed.set(`${id} ${channel}`, true);
          resolve(new Grant({ info: pick(2) === 0 ? undefined : "1" }));
        };
        questions.push({ client: id, channel, publishing, settle });
      });
    };
  const rights: Rights = { subscribe: ask(false), publish: ask(true) };
  const options = { maxPendingFrames: 1000, maxPendingBytes: 1_000_000 };
  const test = await startEdge({ authorizer: authorizer(rights), options });
  const clients: Client[] = [];
  let id = 0;
  const connect = (): void => {
    const socket = test.connect();
    clients.push({ id: socket.handler.id, socket, sent: [], left: false });
  };
  const checkDelivery = (): void => {
    const channel = CHANNELS[pick(CHANNELS.length)]!;
    const before = clients.map(({ socket }) => socket.of("message").length);
    test.broker.deliver({ key: `main/${channel}` });
    for (const [index, { socket, id: client, left }] of clients.entries()) {
      const heard = socket.of("message").length > before[index]!;
      // Never without the right, never half: by the hub's lists and the topics alike.
      expect(heard).toBe(!left && socket.handler.channelNames().includes(channel));
      if (heard) expect(allowed.get(`${client} ${channel}`)).toBe(true);
    }
  };
  connect();
  connect();
  for (let step = 0; step < 120; step++) {
    const client = clients[pick(clients.length)]!;
    const channel = CHANNELS[pick(CHANNELS.length)]!;
    const action = ["subscribe", "subscribe", "unsubscribe", "send", "send", "ping"][pick(6)]!;
    switch (pick(8)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        if (client.left) break;
        id++;
        const answers = client.socket.of("reply").length;
        client.socket.type({ action, id, channel, content: id });
        if (action !== "ping") client.sent.push({ id, action, channel });
        else
          expect([client.socket.of("reply").length, client.socket.last]).toEqual([
            answers + 1,
            { type: "reply", id },
          ]);
        break;
      }
      case 4:
      case 5:
        if (questions.length > 0) questions.splice(pick(questions.length), 1)[0]!.settle();
        break;
      case 6:
        await turn();
        checkDelivery();
        break;
      case 7:
        if (pick(4) > 0) break;
        client.left = true;
        client.socket.leave(1001);
        connect();
    }
  }
  // What was answered may let frames go on that ask again.
  for (let quiet = 0; quiet < 10; quiet++) {
    if (questions.length > 0) {
      quiet = 0;
      questions.splice(pick(questions.length), 1)[0]!.settle();
    }
    await turn();
  }
  checkDelivery();
  for (const { socket, sent, id: client, left } of clients) {
    expect((socket.handler as unknown as { waits: number }).waits).toBe(0);
    // Answers come in the order of what was asked; sends are answered by the bus, which the test holds.
    const asked = sent.filter(({ action }) => action !== "send").map((command) => command.id);
    const told = socket.received
      .filter(({ id: of }) => asked.includes(of as number))
      .map((frame) => frame["id"]);
    expect(told).toEqual(asked.slice(0, told.length));
    if (!left) expect(told).toHaveLength(asked.length);
    // Each publication once or refused, in the order in which they were sent.
    const published = test.broker.published
      .filter(({ from }) => from?.connection === client)
      .map(({ payload }) => Number(Buffer.from(payload.bytes).toString()));
    expect(published).toEqual([...published].sort((a, b) => a - b));
    const refused = socket.of("error").map((frame) => frame["id"] as number);
    const sends = sent.filter(({ action }) => action === "send").map((command) => command.id);
    if (!left)
      expect([...published, ...refused.filter((of) => sends.includes(of))].sort((a, b) => a - b)).toEqual(
        sends,
      );
    if (left) expect([socket.handler.grants]).toEqual([undefined]);
  }
  expect(test.edge.frameTurns.waiting.bytes).toBe(0);
  for (const { socket } of clients) socket.leave(1000);
  expect([test.edge.hub.channels.size, test.stats.subscriptions, test.stats.connections]).toEqual([0, 0, 0]);
  expect(test.stats.sessionFaults).toBe(0);
  await test.stop();
}

describe("rights that are answered at random times", () => {
  it("keep the order, leave no half subscription, deliver nothing without a right, and waits end", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      try {
        await run(seed);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
});
