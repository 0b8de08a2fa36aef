/** Pusher's clients that are silent, as pusher-js is while its channels are not. */

import { WebSocket } from "ws";
import { afterEach, expect, it } from "vitest";
import { cleanUp, startTestNode, until } from "../support/nodes.js";

const APP = { appKey: "key-of-heartbeats", appSecret: "secret-of-heartbeats" };

afterEach(cleanUp);

it("they are asked for a sign of life, and not cut off before", async () => {
  const node = await startTestNode({ ...APP, heartbeatIntervalMs: 7_000, heartbeatTimeoutMs: 500 });
  const socket = new WebSocket(`${node.wsUrl}/app/${APP.appKey}?protocol=7`);
  let pings = 0;
  let closedWith: number | undefined;
  socket.on("message", (data: Buffer) => {
    if ((JSON.parse(data.toString()) as { event: string }).event !== "pusher:ping") return;
    pings++;
    socket.send(JSON.stringify({ event: "pusher:pong", data: {} }));
    // Well behind a beat, so that the next one passes it over.
    setTimeout(() => socket.send(JSON.stringify({ event: "pusher:pong", data: {} })), 800);
  });
  socket.on("close", (code) => (closedWith = code));
  await until("a second ping", () => pings === 2 || closedWith !== undefined, 60_000);
  expect(closedWith).toBeUndefined();
  socket.terminate();
});
