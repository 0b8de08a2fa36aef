/** The Redis of docker-compose.yml: its own start script, arguments and users, run here. */

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { CHAT_RULES, cleanUp, startTestNode, until } from "../support/nodes.js";
import { RULE } from "../support/redis-acl.js";
import { freePort } from "../support/redis-server.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SCRIPT = join(ROOT, "redis/start.sh");
const { redis } = (
  parse(readFileSync(join(ROOT, "docker-compose.yml"), "utf8"), { merge: true }) as {
    services: {
      redis: { entrypoint: string[]; command: string[]; healthcheck: { test: string[] }; volumes: string[] };
    };
  }
).services;
const PASSWORD = "0123456789abcdef".repeat(4);
const PRODUCTION = { STARLING_ALLOW_OPEN: "false", GRAFANA_PASSWORD_SET: "true", REDIS_PASSWORD: PASSWORD };
const TRY_OUT = { STARLING_ALLOW_OPEN: "true", GRAFANA_PASSWORD_SET: "", REDIS_PASSWORD: "try-out" };

afterEach(cleanUp);

interface Started {
  readonly child: ChildProcess;
  readonly url: string;
  readonly port: number;
  readonly directory: string;
  said(): string;
}

/** `before`: one that ended, whose port and data it has. */
async function start(env: Readonly<Record<string, string>>, before?: Started): Promise<Started> {
  const directory = before?.directory ?? mkdtempSync(join(tmpdir(), "starling-compose-"));
  const port = before?.port ?? (await freePort());
  // An argument of Compose may hold several, as it does for Redis.
  const args = redis.command.map((argument) => argument.replace(/\$\{\w+:-(\w+)\}/, "$1"));
  const place = ["--bind", "127.0.0.1", "--port", `${port}`, "--dir", directory];
  const child = spawn("sh", [SCRIPT, ...args, ...place], {
    env: { PATH: process.env["PATH"], USERS_FILE: join(directory, "users.acl"), ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(directory, { recursive: true, force: true });
  });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.once("exit", () => reject(new Error(said)));
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Ready to accept connections")) resolve();
    });
  });
  const url = `redis://starling:${env["REDIS_PASSWORD"]}@127.0.0.1:${port}`;
  return { child, url, port, directory, said: () => said };
}

function cli(port: number, args: readonly string[], password?: string) {
  const auth = password === undefined ? {} : { REDISCLI_AUTH: password };
  const env = { PATH: process.env["PATH"], ...auth };
  const { status, stdout, stderr } = spawnSync("redis-cli", ["-p", `${port}`, ...args], {
    env,
    encoding: "utf8",
  });
  return { status, said: (stdout + stderr).trim() };
}

describe("the Redis of docker-compose.yml", () => {
  it("is started by that script, with the user of docs/redis.md and nobody else", () => {
    expect(redis.entrypoint).toEqual(["sh", "/etc/starling/start.sh"]);
    expect(redis.volumes).toContain("./redis:/etc/starling:ro");
    const users = readFileSync(join(ROOT, "redis/users.acl"), "utf8").trim().split("\n");
    const rule = RULE.map((part) => (part.startsWith(">") ? "#SHA256" : part));
    expect(users).toEqual(["user default off resetpass ~* &* +@all", `user starling ${rule.join(" ")}`]);
  });

  it.each([
    ["filled in", PRODUCTION],
    ["of a try-out", TRY_OUT],
  ])("serves nodes with the password %s, and answers nobody without", async (_, env) => {
    const { url, port, directory } = await start(env);
    const node = await startTestNode({ redis: url });
    expect(await node.reasons()).toEqual([]);
    expect(await node.totals()).toEqual({ nodes: 1, connections: 0 });

    expect(cli(port, ["PING"]).said).toMatch(/NOAUTH/);
    expect(cli(port, ["--user", "starling", "CONFIG", "GET", "*"], env.REDIS_PASSWORD).said).toMatch(
      /NOPERM/,
    );
    expect(cli(port, ["--user", "default", "PING"], env.REDIS_PASSWORD).said).toMatch(/WRONGPASS|NOAUTH/);
    // What it keeps of the password is a hash, for the server's user only.
    expect(readFileSync(join(directory, "users.acl"), "utf8")).not.toContain(env.REDIS_PASSWORD);
    expect(spawnSync("stat", ["-c", "%a", join(directory, "users.acl")], { encoding: "utf8" }).stdout).toBe(
      "600\n",
    );
  });

  it("knows after a crash which messages it has, as docs/redis.md says of its append-only file", async () => {
    const first = await start(PRODUCTION);
    const namespaces = { chat: CHAT_RULES };
    const node = await startTestNode({ redis: first.url, namespaces });
    const message = { channel: "chat:1", content: "once", messageId: "m-1" };
    const made = await node.post("/v1/publish", message);
    expect(made.status).toBe(200);
    // While it synchronises Redis answers before it writes, for up to two seconds.
    const files = join(first.directory, "appendonlydir");
    await until("on its way to the disk", () =>
      readdirSync(files).some((file) => readFileSync(join(files, file)).includes("ws:once:")),
    );
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    const second = await start(PRODUCTION, first);
    await until("ready again", async () => (await node.reasons()).length === 0);
    expect(await node.post("/v1/publish", message)).toEqual(made);
    expect(second.said()).not.toMatch(/error to its AOF-loading-client/);
  });

  it("is set up as docs/redis.md recommends", () => {
    const text = readFileSync(join(ROOT, "docs/redis.md"), "utf8");
    const recommended = (setting: string): string => {
      const row = text.split("\n").find((line) => line.startsWith("| ") && line.includes(`\`${setting}\``));
      return row?.split(" | ")[1] ?? "no row";
    };
    for (const setting of ["appendonly", "appendfsync", "save"]) {
      const given = redis.command.find((argument) => argument.startsWith(`--${setting} `))!.slice(2);
      expect(recommended(setting)).toContain(`\`${given}\``);
    }
    expect(redis.command).toContain("--maxmemory-policy noeviction");
    expect(recommended("maxmemory-policy")).toContain("`noeviction`");
  });

  it("is healthy by its healthcheck when it serves, and not with another password or while nothing listens", async () => {
    const [how, command, ...args] = redis.healthcheck.test;
    expect([how, command]).toEqual(["CMD", "redis-cli"]);
    const { port, child } = await start(PRODUCTION);
    expect(cli(port, args, PASSWORD).status).toBe(0);
    expect(cli(port, args, "other").status).not.toBe(0);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(cli(port, args, PASSWORD).status).not.toBe(0);
  });

  it.each([
    [
      "no password of Redis",
      { ...PRODUCTION, REDIS_PASSWORD: "try-out" },
      /REDIS_PASSWORD \(openssl.*STARLING_ALLOW_OPEN=true/,
    ],
    ["no password of Grafana", { ...PRODUCTION, GRAFANA_PASSWORD_SET: "" }, /for GRAFANA_PASSWORD \(/],
    ["neither", { ...TRY_OUT, STARLING_ALLOW_OPEN: "false" }, /for REDIS_PASSWORD GRAFANA_PASSWORD \(/],
    [
      "a password that a URL cannot hold",
      { ...PRODUCTION, REDIS_PASSWORD: "a/b @" },
      /3 characters other than.*openssl rand/,
    ],
  ])("does not start with %s, and says in one line what to set", (_, env, message) => {
    const run = spawnSync("sh", [SCRIPT, "echo", "started"], {
      env: { PATH: process.env["PATH"], ...env },
      encoding: "utf8",
    });
    expect([run.status, run.stdout]).toEqual([1, ""]);
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trim()).not.toContain("\n");
  });
});
