import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import {
  childrenOf,
  isRunning,
  output,
  serving,
  starling,
  until,
  url,
  type Program,
} from "../support/program.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";

const DEADLINE = { timeout: 20_000 };
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

let run = 0;
async function startWorkers(count: number, ...flags: string[]): Promise<Program> {
  const program = starling([
    ...["serve", "--port", "0", "--api-port", "0", "--drain-ms", "100", "--workers", String(count)],
    ...["--redis", redis.url, "--redis-prefix", `workers${run++}:`, "--log-format", "json", ...flags],
  ]);
  await serving(program);
  return program;
}

const workersOf = (program: Program) =>
  childrenOf(program.child.pid).filter(({ command }) => command.includes("--worker"));

async function metrics(program: Program): Promise<string> {
  const response = await fetch(url(program, "metrics"));
  expect(response.status).toBe(200);
  return response.text();
}

/** By worker. */
function samples(text: string, name: string): Record<string, number> {
  const found = text.matchAll(new RegExp(`^${name}\\{worker="(\\d+)"\\} (\\S+)$`, "gm"));
  return Object.fromEntries([...found].map(([, worker = "", value]) => [worker, Number(value)] as const));
}

async function connect(address: string): Promise<WebSocket & { node: string }> {
  const socket = new WebSocket(address);
  const [data] = (await once(socket, "message")) as [Buffer];
  return Object.assign(socket, { node: (JSON.parse(data.toString()) as { node: string }).node });
}

describe("starling serve --workers", { timeout: 60_000 }, () => {
  it("shares one port between nodes that hear each other, and shows all of them in one scrape", async () => {
    const program = await startWorkers(3);
    expect(program.stdout).toMatch(/^workers +3, sharing the port$/m);
    const sockets = await Promise.all(Array.from({ length: 60 }, () => connect(url(program, "websocket"))));
    const nodes = new Set(sockets.map(({ node }) => node));
    expect(nodes.size).toBe(3);
    const heard = sockets.map(() => 0);
    for (const [index, socket] of sockets.entries()) {
      socket.on("message", (data: Buffer) => {
        if ((JSON.parse(data.toString()) as { type: string }).type === "message") heard[index]!++;
      });
      socket.send(JSON.stringify({ action: "subscribe", channel: "room", id: 1 }));
      await once(socket, "message");
    }
    sockets[0]!.send(JSON.stringify({ action: "send", channel: "room", content: "hi" }));
    await expect.poll(() => heard, DEADLINE).toEqual(sockets.map(() => 1));

    const text = await metrics(program);
    const connections = samples(text, "starling_connections");
    expect(Object.keys(connections).sort()).toEqual(["1", "2", "3"]);
    expect(Object.values(connections).reduce((a, b) => a + b)).toBe(60);
    // Each metric once, its samples together.
    const helped = [...text.matchAll(/^# HELP (\S+)/gm)].map(([, name]) => name);
    expect(new Set(helped).size).toBe(helped.length);
    for (const socket of sockets) socket.terminate();
  });

  it("gives each worker a port where a load balancer is to choose", async () => {
    const program = await startWorkers(2, "--port-per-worker");
    const addresses = [...program.stdout.matchAll(/^websocket +(\S+)$/gm)].map(([, address]) => address!);
    expect(new Set(addresses).size).toBe(2);
    const nodes: string[] = [];
    for (const address of addresses) {
      for (let n = 0; n < 3; n++) {
        const socket = await connect(address);
        nodes.push(socket.node);
        socket.terminate();
      }
    }
    expect(new Set(nodes.slice(0, 3)).size).toBe(1);
    expect(new Set(nodes).size).toBe(2);
  });

  it("starts a worker anew that died, under another id, and shows the others meanwhile", async () => {
    const program = await startWorkers(2);
    const [victim] = workersOf(program);
    process.kill(victim!.pid, "SIGKILL");
    await until(program, () => program.stderr.includes("a worker ended"));
    await expect
      .poll(async () => Object.keys(samples(await metrics(program), "starling_connections")).sort(), DEADLINE)
      .toEqual(["1", "2"]);
    expect(workersOf(program).map(({ pid }) => pid)).not.toContain(victim!.pid);
    expect(await metrics(program)).toMatch(/^starling_info\{[^}]*node="\S+r1"/m);
  });

  it("has all of them read apps again on SIGHUP, and tells once what needs a restart", async () => {
    const directory = mkdtempSync(join(tmpdir(), "starling-workers-"));
    try {
      const file = join(directory, "starling.json");
      writeFileSync(file, JSON.stringify({ maxFrameBytes: 1000 }));
      const program = await startWorkers(2, "--config", file);
      const socket = await connect(url(program, "websocket"));
      writeFileSync(file, JSON.stringify({ maxFrameBytes: 2000, apps: [{ id: "shop" }] }));
      program.child.kill("SIGHUP");
      const times = (text: RegExp): number => program.stderr.match(text)?.length ?? 0;
      await until(program, () => times(/"added":\["shop"\]/g) === 2);
      expect(times(/"options":\["maxFrameBytes"\]/g)).toBe(1);
      writeFileSync(file, "apps: 1");
      program.child.kill("SIGHUP");
      await until(program, () => times(/the configuration is refused/g) === 1);
      expect(socket.readyState).toBe(WebSocket.OPEN);
      (await connect(`${url(program, "websocket")}/?app=shop`)).terminate();
      socket.terminate();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it("ends all of them on SIGTERM, with 0", async () => {
    const program = await startWorkers(2);
    const socket = await connect(url(program, "websocket"));
    const pids = workersOf(program).map(({ pid }) => pid);
    expect(pids).toHaveLength(2);
    const closed = once(socket, "close") as Promise<[number]>;
    program.child.kill("SIGTERM");
    expect((await closed)[0]).toBe(1012);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(pids.filter(isRunning)).toEqual([]);
    const complaints = `${program.stdout}\n${program.stderr}`.match(/^.*"level":"(warn|error)".*$/gm) ?? [];
    expect(complaints.filter((line) => !line.includes("the binary of uWebSockets.js"))).toEqual([]);
  });

  it("leaves nothing behind when it is killed itself", async () => {
    const program = await startWorkers(2);
    const pids = workersOf(program).map(({ pid }) => pid);
    program.child.kill("SIGKILL");
    await expect.poll(() => pids.filter(isRunning), DEADLINE).toEqual([]);
  });

  it("is refused without Redis", async () => {
    const { code, stderr } = await output(["serve", "--workers", "2"]);
    expect([code, stderr]).toEqual([
      2,
      "starling: workers 2 (--workers) needs redis: without it the workers would not share publications\n",
    ]);
  });

  it("is refused where the ports do not fit", async () => {
    const args = ["serve", "--workers", "3", "--port-per-worker", "--redis", redis.url];
    const { stderr } = await output([...args, "--port", "8000", "--api-port", "8002"]);
    expect(stderr).toContain("apiPort 8002 (--api-port) is among the workers' ports 8000 to 8002");
    expect((await output([...args, "--port", "65534"])).stderr).toContain("would end above 65535");
  });

  it("says in one line that the port is taken, though workers would share it", async () => {
    const taken = createServer();
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const { code, stderr } = await output([
      ...["serve", "--workers", "2", "--redis", redis.url, "--port", String(port), "--api-port", "0"],
    ]);
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(
        `^starling: cannot start: cannot listen on \\S+:${port} \\(host, port\\): .*EADDRINUSE.*\n$`,
      ),
    );
  });

  it("says so once and ends where the workers cannot start", async () => {
    const { code, stderr } = await output([
      ...["serve", "--workers", "2", "--port", "0", "--api-port", "0", "--redis", "redis://127.0.0.1:1"],
      ...["--redis-start-timeout-ms", "1"],
    ]);
    expect(code).toBe(1);
    expect(stderr.match(/cannot reach Redis/g)).toHaveLength(1);
    expect(stderr).toContain("a worker did not start, see above");
  });
});
