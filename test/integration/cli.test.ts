import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { parse } from "yaml";
import { oldBinary, thisPlatform } from "../../src/transport/platform.js";
import {
  childrenOf,
  command as commandPath,
  isRunning,
  output,
  root,
  serving,
  starling,
  until,
  url,
  type Program,
} from "../support/program.js";
import { freePort, startRedis } from "../support/redis-server.js";

describe("starling", () => {
  it("prints help when given nothing", async () => {
    const { code, stdout, stderr } = await output([]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/Usage: starling[^]*serve[^]*cluster[^]*config/);
  });

  it("prints the package's version", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect((await output(["--version"])).stdout).toBe(`${version}\n`);
  });

  it("lists every option in serve --help, with default and unit", async () => {
    const { code, stdout } = await output(["serve", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/--heartbeat-interval-ms <n> +how often[^]*?\(ms, default:\s+30000\)/);
    const { optionNames, flagName } = await import("../../src/config/options.js");
    for (const name of optionNames) expect(stdout).toContain(`${flagName(name)} `);
  });

  it("says how many nodes cluster runs, once, and where their ports are", async () => {
    const { stdout } = await output(["cluster", "--help"]);
    const [, words = ""] = /--nodes <n> +([^]*?)\n +--config/.exec(stdout) ?? [];
    expect(words.replace(/\s+/g, " ")).toBe(
      "how many nodes, behind one address at --port and --api-port: node N takes the ports 10 x N above those (default: 3)",
    );
  });

  it.each([
    [["serv"], "unknown command serv: did you mean serve?"],
    [["serve", "--prot", "1"], "unknown option --prot: did you mean --port?"],
    [["serve", "--port", "x"], '--port: "x" is not allowed: a whole number from 0 to 65535'],
    [["cluster", "--nodes", "many"], '--nodes: "many" is not allowed: a whole number from 1 to 64'],
    [["cluster", "--api-port", "8010"], "port 8010 would be used twice"],
    [["cluster", "--port", "65530"], "port 65540 is over 65535"],
    [["serve", "--port", "--api-port", "1"], "--port has no value: --api-port comes right behind it"],
    [["serve", "now"], 'unexpected argument "now": serve takes options alone, which begin with --'],
    [["app"], "app needs a command behind it: commands are create"],
    [["app", "creat"], "unknown command creat: did you mean create?"],
    [["app", "--id", "7"], "--id comes behind a command: starling app create --id ..."],
    [
      ["app", "create", "now"],
      'unexpected argument "now": app create takes options alone, which begin with --',
    ],
    [["app", "create", "--prot", "1"], "unknown option --prot: did you mean --port?"],
    [["app", "create", "--nodes", "1"], "unknown option --nodes: see starling app create --help"],
    [["app", "create", "--json=1"], "--json takes no value"],
    [["app", "create", "--id", "a b"], '--id: "a b" is not allowed: an id is 1 to 64 of A-Z a-z 0-9 _ -'],
    [
      ["app", "create", "--host", "a:80"],
      '--host: "a:80" is not allowed: a host name or address without a port',
    ],
    [["app", "create", "--port", "0"], '--port: "0" is not allowed: a whole number from 1 to 65535'],
    [["serve", "--demo", "maybe"], '--demo: "maybe" is not allowed: true or false'],
    [["serve", "--no-demo=false"], "--no-demo takes no value: write --no-demo, or --demo=true"],
    [["--port", "1"], "--port comes behind a command: starling serve --port ..."],
    [["help", "serv"], "unknown command serv: did you mean serve?"],
  ])("refuses %j in one line with exit code 2", async (args, message) => {
    const { code, stdout, stderr } = await output(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr.startsWith(`starling: ${message}`)).toBe(true);
    expect(stderr.trimEnd()).not.toContain("\n");
  });
});

describe("starling config", () => {
  const env = {
    STARLING_JWT_SECRET: "hush-hush-hush-hush-hush-hush-hush",
    STARLING_REDIS: "redis://me:hush@h:1",
  };

  it("prints each value and where it came from, secrets hidden", async () => {
    const { code, stdout } = await output(["config", "--port", "9", "--no-demo"], env);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^port +9 +--port$/m);
    expect(stdout).toMatch(/^demo +false +--demo$/m);
    expect(stdout).toMatch(/^jwtSecret +\*\*\* +STARLING_JWT_SECRET$/m);
    expect(stdout).toMatch(/^redis +redis:\/\/me:\*\*\*@h:1 +STARLING_REDIS$/m);
    expect(stdout).toMatch(/^host +127\.0\.0\.1 +default$/m);
    expect(stdout).not.toContain("hush");
  });

  it.each([
    [["--demo"], "true"],
    [["--demo=true"], "true"],
    [["--demo", "1"], "true"],
    [["--no-demo"], "false"],
    [["--demo=false"], "false"],
    [["--demo", "false"], "false"],
    [["--demo", "--port", "9"], "true"],
  ])("reads %j as demo %s", async (args, value) => {
    const { code, stdout } = await output(["config", ...args]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^demo +${value} +--demo$`, "m"));
  });

  it("prints the same as JSON", async () => {
    const { stdout } = await output(["config", "--json"], env);
    expect(JSON.parse(stdout)).toMatchObject({
      port: { value: 8000, from: "default" },
      jwtSecret: { value: "***", from: "STARLING_JWT_SECRET" },
      redis: { value: "redis://me:***@h:1", from: "STARLING_REDIS" },
      apiKeys: { value: [], from: "default" },
    });
  });
});

describe("starling app create", () => {
  it("prints another app each time, as JSON for machines", async () => {
    const [one, two] = await Promise.all([
      output(["app", "create", "--json"]),
      output(["app", "create", "--json"]),
    ]);
    const apps = [one, two].map(({ stdout }) => JSON.parse(stdout) as Record<string, string>);
    for (const app of apps) {
      expect(app).toEqual({
        id: expect.stringMatching(/^[1-9]\d{6}$/) as string,
        key: expect.stringMatching(/^[0-9a-f]{20}$/) as string,
        secret: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      });
    }
    expect(apps[0]!["secret"]).not.toBe(apps[1]!["secret"]);
  });

  it("prints what a node takes, which then serves the app", async () => {
    const { code, stdout, stderr } = await output(["app", "create", "--id", "shop"]);
    expect([code, stderr]).toEqual([0, ""]);
    const env = Object.fromEntries(
      [...stdout.matchAll(/^export (STARLING_\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
    );
    const { stdout: config } = await output(["config", "--json"], env);
    expect(JSON.parse(config)).toMatchObject({
      appId: { value: "shop", from: "STARLING_APP_ID" },
      appKey: { value: /key +(\w+)/.exec(stdout)![1] },
      appSecret: { value: "***" },
    });
  });
});

describe("starling serve", () => {
  const anyPort = ["serve", "--port", "0", "--api-port", "0"];

  it("prints its URLs, which answer, and ends with 0 on SIGTERM", async () => {
    const program = starling([...anyPort, "--drain-ms", "100"]);
    await serving(program);
    expect(url(program, "websocket")).toMatch(/^ws:\/\/127\.0\.0\.1:\d+$/);
    const demo = await fetch(url(program, "demo"));
    expect(demo.status).toBe(200);
    expect(await demo.text()).toContain("<html");
    expect(await (await fetch(url(program, "metrics"))).text()).toContain("starling_");
    expect((await fetch(`${url(program, "api")}/readyz`)).status).toBe(200);
    for (const line of program.stderr.trim().split("\n").filter(Boolean))
      expect(() => void JSON.parse(line)).not.toThrow();
    program.child.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  it("prints where Pusher's clients come to, with the key of the app that has one", async () => {
    const secret = "secret-of-the-shop";
    const one = ["--app-id", "7", "--app-key", "shop-key", "--app-secret", secret, "--pusher-path", "/push"];
    const others = ["--apps", JSON.stringify([{ id: "b", keys: [{ key: "k", secret }] }])];
    const first = starling([...anyPort, "--drain-ms", "100", ...one]);
    const second = starling([...anyPort, "--drain-ms", "100", ...one, ...others]);
    await serving(first);
    expect(first.stdout).toMatch(/^pusher    ws:\/\/127\.0\.0\.1:\d+\/push\/app\/shop-key \(app 7\)$/m);
    await serving(second);
    expect(second.stdout).toMatch(/^pusher .*\/push\/app\/KEY \(2 apps with keys\)$/m);
  });

  it("names a thing once in a line of its log, from its start to its stop and while Redis is unreachable", async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    // Left by a node that died: its lease is gone.
    await redis.client().zadd("ws:nodes", "1", "dead");
    const times = ["--lease-ttl-ms", "500", "--bus-probe-interval-ms", "100", "--drain-ms", "100"];
    const log = ["--log-format", "json", "--log-level", "debug"];
    const program = starling([...anyPort, "--redis", redis.url, "--node-id", "n-1", ...times, ...log]);
    await serving(program);
    await until(program, () => program.stderr.includes("reaped a dead node"));
    await redis.restart();
    await until(program, () => /"registered".*"registered"/s.test(program.stderr));
    program.child.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    const lines = program.stderr.trim().split("\n");
    expect(lines.length).toBeGreaterThan(5);
    // A map of YAML, which JSON is, has no key twice.
    for (const line of lines) expect(parse(line, { uniqueKeys: true })).toMatchObject({ node: "n-1" });
    expect(program.stderr).toContain('"deadNode":"dead"');
    expect(lines.at(-1)).toContain('"msg":"stopped"');
    const count = (text: string): number => lines.filter((line) => line.includes(text)).length;
    expect([count("registered"), count("the registration expired"), count("expired")]).toEqual([2, 1, 1]);
  });

  it.each([{}, { NODE_ENV: "production", STARLING_ALLOW_OPEN: "true" }])(
    "says in one line of its log where the binary of uWebSockets.js is old, and runs all the same: %j",
    async (env) => {
      const program = starling([...anyPort, "--log-format", "json"], env);
      await serving(program);
      const about = program.stderr
        .split("\n")
        .filter((line) => line.includes("the binary of uWebSockets.js"));
      const warning = oldBinary(thisPlatform());
      const expected = warning === undefined ? [] : [{ level: "warn", msg: warning }];
      expect(about.map((line) => JSON.parse(line) as object)).toMatchObject(expected);
      expect((await fetch(`${url(program, "api")}/healthz`)).status).toBe(200);
    },
  );

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("ends at once on a second %s", async (signal, code) => {
    const program = starling([...anyPort, "--drain-ms", "3600000"]);
    await serving(program);
    // Several, so that the drain spreads their closes over its hour.
    const clients = Array.from({ length: 4 }, () => new WebSocket(url(program, "websocket")));
    await Promise.all(clients.map(async (client) => once(client, "message")));
    program.child.kill(signal);
    await until(program, () => program.stderr.includes("draining"));
    program.child.kill(signal);
    expect(await program.ended).toEqual({ code, signal: null });
    for (const client of clients) client.terminate();
  });

  it("goes on after SIGHUP and says what that did", async () => {
    const program = starling([...anyPort, "--drain-ms", "100"]);
    await serving(program);
    const client = new WebSocket(url(program, "websocket"));
    await once(client, "message");
    program.child.kill("SIGHUP");
    await until(program, () =>
      program.stderr.includes("apps and namespaces were read again: none has changed"),
    );
    expect(program.stderr).not.toMatch(/are read at the start only/);
    const replied = once(client, "message");
    client.send('{"action":"ping","id":1}');
    await replied;
    const closed = once(client, "close") as Promise<[number]>;
    program.child.kill("SIGTERM");
    expect((await closed)[0]).toBe(1012);
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  it("drains when the terminal that shows it is closed", async () => {
    const port = await freePort();
    // It gives the command a terminal of its own.
    const terminal = spawn(
      "script",
      [
        "-qfc",
        `exec ${process.execPath} ${commandPath} serve --port ${port} --api-port 0 --drain-ms 100`,
        "/dev/null",
      ],
      { stdio: ["pipe", "pipe", "ignore"], env: { PATH: process.env["PATH"], SHELL: "/bin/sh" } },
    );
    let shown = "";
    terminal.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
    await expect.poll(() => shown, { timeout: 20_000 }).toMatch(/^api +http/m);
    const [node] = childrenOf(terminal.pid);
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    await once(client, "message");
    const closed = once(client, "close") as Promise<[number]>;
    terminal.kill("SIGKILL");
    expect((await closed)[0]).toBe(1012);
    await expect.poll(() => isRunning(node!.pid), { timeout: 10_000 }).toBe(false);
  });

  describe("before its Redis", () => {
    const start = async () => {
      const [redisPort, apiPort] = [await freePort(), await freePort()];
      const redis = ["--redis", `redis://127.0.0.1:${redisPort}`];
      return { redisPort, apiPort, args: [...redis, "--port", "0", "--api-port", String(apiPort)] };
    };
    const waiting = (program: Program): Promise<void> =>
      until(program, () => program.stderr.includes("waiting for Redis"));

    it.each([
      ["serve", ["serve"]],
      ["serve --workers", ["serve", "--workers", "2"]],
      ["cluster", ["cluster", "--nodes", "1"]],
    ])("%s waits, is not ready, and serves once it is there", async (_, command) => {
      const { redisPort, apiPort: front, args } = await start();
      const apiPort = command[0] === "cluster" ? front + 10 : front;
      const program = starling([...command, ...args]);
      const heard = (): string => program.stdout + program.stderr;
      await until(program, () => heard().includes("waiting for Redis"));
      expect((await fetch(`http://127.0.0.1:${apiPort}/healthz`)).status).toBe(200);
      expect((await fetch(`http://127.0.0.1:${apiPort}/readyz`)).status).toBe(503);
      const redis = await startRedis({ port: redisPort });
      try {
        await until(program, () => /^(cluster \| running|websocket )/m.test(program.stdout));
        expect((await fetch(`http://127.0.0.1:${apiPort}/readyz`)).status).toBe(200);
        // Said once, however often it was tried.
        expect(heard().match(/waiting for Redis/g)).toHaveLength(1);
        program.child.kill("SIGTERM");
        expect(await program.ended).toEqual({ code: 0, signal: null });
      } finally {
        await redis.stop();
      }
    });

    it.each([
      ["serve", ["serve"]],
      ["serve --workers", ["serve", "--workers", "2"]],
      ["cluster", ["cluster", "--nodes", "2"]],
    ])("%s ends at once with 0 on SIGTERM", async (_, command) => {
      const { args } = await start();
      const program = starling([...command, ...args, "--api-port", "0"]);
      await until(program, () => (program.stdout + program.stderr).includes("waiting for Redis"));
      program.child.kill("SIGTERM");
      expect(await program.ended).toEqual({ code: 0, signal: null });
    });

    it("ends with 1 and the reason after --redis-start-timeout-ms", async () => {
      const { args } = await start();
      const program = starling(["serve", ...args, "--redis-start-timeout-ms", "300"]);
      await waiting(program);
      expect((await program.ended).code).toBe(1);
      expect(program.stderr).toMatch(
        /^starling: cannot start: cannot reach Redis at .*ECONNREFUSED.*; gave up after 300 ms \(redisStartTimeoutMs\)$/m,
      );
    });
  });

  it("says in one line which port is taken, and ends with 1", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const { code, stdout, stderr } = await output([
      "serve",
      "--port",
      `${port}`,
      "--api-port",
      "0",
      "--log-level",
      "silent",
    ]);
    taken.close();
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^starling: cannot start: .*\n$/);
    expect(stderr).toContain(`${port}`);
  });
});
