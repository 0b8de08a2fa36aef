/** Nodes of the built command, each behind a proxy of its own to one private Redis: what a fault can be done to. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

/** What a node is made of. */
export interface NodeBuild {
  /** Directory of the built package. */
  readonly dist: string;
  /** What broken-node.ts is to switch off. */
  readonly sabotage?: string | undefined;
}

export interface FleetOptions extends NodeBuild {
  readonly nodes: number;
  /** More flags of `starling serve`. */
  readonly args?: readonly string[];
  /** Told when a node ends that nobody killed. */
  onCrash(what: string): void;
}

/** A place for a node: its ports and its link stay, its process and its id may change. */
export interface FleetNode {
  readonly name: string;
  /** Of the node that is in this place now. */
  readonly id: string;
  readonly wsUrl: string;
  readonly apiUrl: string;
  readonly proxy: TcpProxy;
  readonly running: boolean;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has drained and the process is gone. @throws Error where it does not end in time */
  drain(): Promise<void>;
  /**
   * A new node in its place, of another build from now on where one is given. Tries until `deadlineMs` have passed:
   * Redis may be away.
   */
  start(deadlineMs?: number, build?: NodeBuild): Promise<void>;
  pause(): void;
  resume(): void;
  /** @throws Error where it does not answer */
  metrics(): Promise<Map<string, number>>;
  ready(): Promise<boolean>;
}

export interface Fleet {
  readonly redis: RedisServer;
  readonly nodes: readonly FleetNode[];
  /** Ends every process. */
  stop(): Promise<void>;
}

const BROKEN = join(import.meta.dirname, "broken-node.ts");
const START_TIMEOUT_MS = 20_000;
const START_DEADLINE_MS = 90_000;
const RETRY_MS = 500;
const LOG_CHARS = 20_000;
const ANSWER_MS = 3_000;
const DRAIN_DEADLINE_MS = 60_000;

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const redis = await startRedis();
  const nodes: FleetNode[] = [];
  const stops: (() => Promise<void>)[] = [() => redis.stop()];
  const stop = async (): Promise<void> => {
    for (const step of stops.reverse()) await step();
  };
  try {
    const places = Array.from({ length: options.nodes }, async (_, index) => {
      const proxy = await startTcpProxy(redis.port);
      stops.push(() => proxy.close());
      const node = place(`n${index + 1}`, proxy, options, await freePort(), await freePort());
      stops.push(() => node.kill());
      nodes.push(node);
      await node.start(0);
    });
    await Promise.all(places);
  } catch (error) {
    await stop();
    throw error;
  }
  nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { redis, nodes, stop };
}

function place(
  name: string,
  proxy: TcpProxy,
  options: FleetOptions,
  port: number,
  apiPort: number,
): FleetNode {
  let child: ChildProcess | undefined;
  let gone: Promise<void> = Promise.resolve();
  let incarnation = 0;
  let killed = false;
  let build: NodeBuild = options;
  const apiUrl = `http://127.0.0.1:${apiPort}`;

  async function launch(): Promise<void> {
    const flags = {
      // A fresh id: the lease of a killed one would be waited for.
      ...{ "node-id": `${name}-${++incarnation}`, port, "api-port": apiPort },
      ...{ redis: `redis://127.0.0.1:${proxy.port}`, "log-format": "json", "log-level": "warn" },
    };
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    const command =
      build.sabotage === undefined
        ? [join(build.dist, "cli.js")]
        : ["--import", "tsx", BROKEN, build.dist, build.sabotage];
    const started = spawn(
      process.execPath,
      [
        ...command,
        "serve",
        "--exit-with-parent",
        "--no-demo",
        "--drain-ms=0",
        ...args,
        ...(options.args ?? []),
      ],
      {
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        env: withoutStarling(process.env),
      },
    );
    child = started;
    killed = false;
    const onExit = (): void => void started.kill("SIGKILL");
    process.once("exit", onExit);
    let output = "";
    let ready = false;
    gone = new Promise((resolve) => {
      started.once("error", (error) => (output += String(error)));
      started.once("close", (code, signal) => {
        process.off("exit", onExit);
        if (child === started) child = undefined;
        if (ready && !killed) options.onCrash(`${name} ended by ${signal ?? code}:\n${output.slice(-2_000)}`);
        resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => started.kill("SIGKILL"), START_TIMEOUT_MS);
      const read = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-LOG_CHARS);
        if (ready || !/^api +http/m.test(output)) return;
        ready = true;
        clearTimeout(timer);
        resolve();
      };
      started.stdout!.on("data", read);
      started.stderr!.on("data", read);
      void gone.then(() => {
        clearTimeout(timer);
        reject(new Error(`${name} did not start:\n${output}`));
      });
    });
  }

  return {
    name,
    proxy,
    apiUrl,
    wsUrl: `ws://127.0.0.1:${port}`,
    get id() {
      return `${name}-${incarnation}`;
    },
    get running() {
      return child !== undefined;
    },
    async kill() {
      killed = true;
      child?.kill("SIGKILL");
      await gone;
    },
    async drain() {
      killed = true;
      const ended = child;
      ended?.kill("SIGTERM");
      const timer = setTimeout(() => ended?.kill("SIGKILL"), DRAIN_DEADLINE_MS);
      await gone;
      clearTimeout(timer);
      if (ended !== undefined && ended.exitCode !== 0)
        throw new Error(`${name} ended by ${ended.signalCode ?? ended.exitCode} when it was to drain`);
    },
    async start(deadlineMs = START_DEADLINE_MS, of = build) {
      build = of;
      const deadline = performance.now() + deadlineMs;
      for (;;) {
        try {
          return await launch();
        } catch (error) {
          if (performance.now() > deadline) throw error;
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
      }
    },
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    async metrics() {
      const response = await fetch(`${apiUrl}/metrics`, { signal: AbortSignal.timeout(ANSWER_MS) });
      const lines = (await response.text())
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"));
      return new Map(
        lines.map((line) => {
          const end = line.lastIndexOf(" ");
          return [line.slice(0, end), Number(line.slice(end + 1))];
        }),
      );
    },
    async ready() {
      try {
        const response = await fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS) });
        await response.body?.cancel();
        return response.status === 200;
      } catch (error) {
        // Not there, or it hangs: both are not ready.
        return error instanceof SyntaxError;
      }
    },
  };
}

function withoutStarling(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^STARLING_|^NODE_ENV$/.test(name)));
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
