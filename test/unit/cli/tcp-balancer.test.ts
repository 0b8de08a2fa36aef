import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { startTcpBalancer } from "../../../src/cli/cluster/tcp-balancer.js";
import { freePort } from "../../../src/cli/ports.js";

const HOST = "127.0.0.1";
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Says its name, then what it hears, and ends when the other side has ended. */
async function node(name: string): Promise<{ port: number; sockets: Socket[]; server: Server }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.write(`${name}:`);
    socket.pipe(socket);
  }).listen(0, HOST);
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, sockets, server };
}

async function balancer(...ports: number[]): Promise<number> {
  const port = await freePort();
  const started = await startTcpBalancer(
    { host: HOST, port },
    ports.map((target) => ({ host: HOST, port: target })),
  );
  cleanups.push(() => started.stop());
  return port;
}

/** All that is answered to this text, after which the client ends its side. */
async function answer(port: number, text: string): Promise<string> {
  const client = connect({ port, host: HOST, allowHalfOpen: true });
  let said = "";
  client.on("data", (chunk: Buffer) => (said += chunk.toString()));
  client.on("error", () => undefined); // "close" follows
  client.end(text);
  await new Promise((resolve) => client.once("close", resolve));
  return said;
}

it("takes the nodes in turn, and passes on what was sent before an orderly end", async () => {
  const [a, b] = [await node("a"), await node("b")];
  const port = await balancer(a.port, b.port);
  const long = "x".repeat(500_000);
  expect([await answer(port, "1"), await answer(port, "2"), await answer(port, long)]).toEqual([
    "a:1",
    "b:2",
    `a:${long}`,
  ]);
});

it("asks the next where one refuses, and cuts who came where all refuse", async () => {
  const a = await node("a");
  const port = await balancer(await freePort(), a.port);
  expect([await answer(port, "1"), await answer(port, "2")]).toEqual(["a:1", "a:2"]);
  a.server.close();
  expect(await answer(port, "3")).toBe("");
});

it("cuts a client whose node is cut, and a node whose client is", async () => {
  const a = await node("a");
  const port = await balancer(a.port);
  const [first, second] = [connect(port, HOST), connect(port, HOST)];
  for (const client of [first, second]) client.on("error", () => undefined);
  await Promise.all([once(first, "data"), once(second, "data")]);
  const closed = Promise.all(
    [first, second].map((client) => new Promise((end) => client.once("close", end))),
  );
  for (const socket of a.sockets) socket.resetAndDestroy();
  await closed;

  const third = connect(port, HOST);
  await once(third, "data");
  const gone = new Promise((end) => a.sockets[2]!.once("close", end));
  third.destroy();
  await gone;
});
