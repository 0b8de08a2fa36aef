/** `starling cluster` as a user has it: what it prints, who serves at its address, and what is left of it. */

import { spawn } from "node:child_process";
import { createServer, type AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { freePort } from "../../src/cli/ports.js";
import { hasProgram } from "../../src/cli/programs/program.js";
import {
  childrenOf,
  clusterNodes,
  clusterUrl,
  isRunning,
  output,
  pathWithoutEnvoy,
  pidsToKill,
  root,
  starling,
  until,
  type Program,
} from "../support/program.js";

const QUICK = ["--drain-ms", "100", "--lease-ttl-ms", "1500"];

const APP = {
  STARLING_APP_ID: "7",
  STARLING_APP_KEY: "shop-key",
  STARLING_APP_SECRET: "secret-of-the-shop",
};

const running = (program: Program): Promise<void> =>
  until(program, () => program.stdout.includes("Ctrl-C stops all"));
async function connected(url: string): Promise<{ socket: WebSocket; node: string }> {
  const socket = new WebSocket(url);
  const welcome = await heard(socket, "welcome");
  return { socket, node: String(welcome["node"]) };
}

function heard(client: WebSocket, type: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    client.once("error", reject);
    client.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Record<string, unknown>;
      if (message["type"] === type) resolve(message);
    });
  });
}

/** Three ports that nobody has, ten apart. */
async function portsInARow(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if ((await freePort(port + 10)) === port + 10 && (await freePort(port + 20)) === port + 20) return port;
  }
}

describe.each([
  ["its own balancer", false, "a TCP balancer of this command: envoy is not on the PATH"],
  ["Envoy", true, "Envoy, with envoy.yaml"],
])("a cluster behind %s", (_, withEnvoy, front) => {
  const env = (): Record<string, string> => (withEnvoy ? {} : { PATH: pathWithoutEnvoy() });

  it(
    "serves at one address, starts a killed node again, names one with clients, and leaves nothing behind",
    { timeout: 90_000 },
    async () => {
      if (withEnvoy) expect(hasProgram("envoy"), "this test needs Envoy").toBe(true);
      const program = starling(["cluster", "--nodes", "2", "--port", "0", ...QUICK], { ...env(), ...APP });
      await running(program);
      expect(program.stdout).toContain(`front  ${front}`);
      expect(program.stdout).toMatch(
        new RegExp(`^cluster \\| pusher +${clusterUrl(program, "websocket")}/app/shop-key \\(app 7\\)$`, "m"),
      );
      const nodes = clusterNodes(program);
      expect(nodes.map(({ id }) => id).sort()).toEqual(["node-1", "node-2"]);
      const children = childrenOf(program.child.pid);
      expect(children.map(({ pid }) => pid)).toEqual(expect.arrayContaining(nodes.map(({ pid }) => pid)));
      expect(nodes.map(({ pid }) => pid)).toContain(pidsToKill(program)[0]);

      const url = clusterUrl(program, "websocket");
      const page = await fetch(clusterUrl(program, "demo"));
      expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("<title>")]);
      expect((await fetch(`${clusterUrl(program, "api")}/v1/totals`)).status).toBe(200);

      const { socket, node } = await connected(`${url}?key=a`);
      const elsewhere = nodes.find(({ id }) => id !== node)!;
      const { socket: other } = await connected(elsewhere.wsUrl);
      const subscribed = heard(other, "reply");
      other.send('{"action":"subscribe","id":1,"channel":"room"}');
      await subscribed;
      const message = heard(other, "message");
      socket.send('{"action":"send","channel":"room","content":"hi"}');
      expect(await message).toMatchObject({ channel: "room", content: "hi" });
      other.terminate();

      // Whoever is named in the end is the one that the client is on.
      const killed = nodes.find(({ id }) => id === node)!;
      await until(program, () => pidsToKill(program).at(-1) === killed.pid);
      const cut = new Promise((resolve) => socket.once("close", resolve));
      process.kill(killed.pid, "SIGKILL");
      expect(await cut).toBe(1006);
      await until(program, () =>
        program.stdout.includes(`${node} (pid ${killed.pid}) ended by SIGKILL; 1 of 2`),
      );
      const again = await connected(`${url}?key=a`);
      // The other; or its own, where that serves again by now.
      expect([elsewhere.id, `${node}r1`]).toContain(again.node);
      await until(program, () => clusterNodes(program).some(({ id }) => id === `${node}r1`));
      const started = clusterNodes(program).find(({ id }) => id === `${node}r1`)!;
      expect([started.wsUrl, isRunning(started.pid)]).toEqual([killed.wsUrl, true]);
      const pidAgain = clusterNodes(program).find(({ id }) => id === again.node)!.pid;
      await until(program, () => pidsToKill(program).at(-1) === pidAgain);
      again.socket.terminate();

      const left = childrenOf(program.child.pid).map(({ pid }) => pid);
      program.child.kill("SIGINT");
      expect(await program.ended).toEqual({ code: 0, signal: null });
      expect(left.filter(isRunning)).toEqual([]);
    },
  );

  it("leaves nothing behind when it is killed itself", { timeout: 60_000 }, async () => {
    const program = starling(["cluster", "--nodes", "1", "--port", "0", ...QUICK], env());
    await running(program);
    const direct = childrenOf(program.child.pid);
    const all = direct.flatMap(({ pid }) => [pid, ...childrenOf(pid).map((child) => child.pid)]);
    expect(all.length).toBeGreaterThanOrEqual(3);
    program.child.kill("SIGKILL");
    await expect.poll(() => all.filter(isRunning), { timeout: 15_000 }).toEqual([]);
  });
});

describe("npm run cluster", () => {
  it.each(["SIGTERM", "SIGKILL"] as const)(
    "ends when npm ends by %s",
    { timeout: 60_000 },
    async (signal) => {
      const npm = spawn("npm", ["run", "--silent", "cluster", "--", "--nodes=1", "--port=0", ...QUICK], {
        cwd: root,
        stdio: ["ignore", "pipe", "ignore"],
      });
      onTestFinished(() => void npm.kill("SIGKILL"));
      let stdout = "";
      npm.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      await expect.poll(() => stdout, { timeout: 25_000 }).toContain("Ctrl-C stops all");
      const below = (pid: number): number[] =>
        childrenOf(pid).flatMap((child) => [child.pid, ...below(child.pid)]);
      const all = below(npm.pid!);
      expect(all.length).toBeGreaterThanOrEqual(3);
      npm.kill(signal);
      await expect.poll(() => all.filter(isRunning), { timeout: 15_000 }).toEqual([]);
    },
  );
});

describe("what a cluster says before anything starts", () => {
  it("is that its address is open, and what to do where redis-server is missing", async () => {
    const args = ["cluster", "--host=0.0.0.0", "--api-host=0.0.0.0", "--port=0", "--allow-open"];
    const { code, stdout, stderr } = await output(args, { PATH: "" });
    expect(code).toBe(1);
    expect(stdout).toContain("cluster | warning: the server API on 0.0.0.0 has no keys");
    expect(stdout).toContain("cluster | warning: OPEN MODE: anyone who reaches this address can subscribe");
    expect(stderr).toMatch(
      /^starling: redis-server is not on the PATH: .*, or name a running one by --redis URL\n$/,
    );
  });

  it("is not that it is open where only this machine reaches it, or where tokens are checked", async () => {
    for (const more of [[], ["--host=0.0.0.0", `--jwt-secret=${"s".repeat(32)}`]]) {
      const { stdout, stderr } = await output(["cluster", "--port=0", ...more], { PATH: "" });
      expect([stdout, stderr]).toEqual(["", expect.stringContaining("redis-server is not on the PATH")]);
    }
  });
});

describe("the ports of a cluster", () => {
  it(
    "are --port and --api-port in front, and every tenth above them behind",
    { timeout: 60_000 },
    async () => {
      const [port, apiPort] = [await portsInARow(), await portsInARow()];
      const program = starling(["cluster", "--nodes=2", `--port=${port}`, `--api-port=${apiPort}`, ...QUICK]);
      await running(program);
      expect(["websocket", "demo", "api"].map((name) => clusterUrl(program, name))).toEqual([
        `ws://127.0.0.1:${port}`,
        `http://127.0.0.1:${port}/`,
        `http://127.0.0.1:${apiPort}`,
      ]);
      const places = clusterNodes(program).map(({ id, wsUrl }) => `${id} ${wsUrl}`);
      expect(places.sort()).toEqual([
        `node-1 ws://127.0.0.1:${port + 10}`,
        `node-2 ws://127.0.0.1:${port + 20}`,
      ]);
      program.child.kill("SIGTERM");
      expect(await program.ended).toEqual({ code: 0, signal: null });
    },
  );

  it("that are taken are named in one line before anything starts", async () => {
    const port = await portsInARow();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(port + 20, "127.0.0.1", resolve));
    expect((taken.address() as AddressInfo).port).toBe(port + 20);
    const args = ["cluster", "--nodes=2", `--port=${port}`, "--api-port=0"];
    const { code, stdout, stderr } = await output(args);
    taken.close();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `starling: cannot start: port ${port + 20} in use: 2 nodes take every tenth port above --port ${port} ` +
        "and --api-port 0; stop what has them, or name other ports\n",
    );
  });
});
