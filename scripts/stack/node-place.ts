/** A place for a node of the built command: its ports stay, its process and its id may change. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { freePort } from "../../src/cli/ports.js";
import type { Endpoint } from "../../src/cli/programs/envoy-config.js";
import { answers, startProgram, type OnExit, type Program } from "../../src/cli/programs/program.js";

export interface NodePlace extends Endpoint {
  readonly name: string;
  readonly wsUrl: string;
  readonly apiUrl: string;
  /** Of the process that runs now. */
  readonly pid: number;
  readonly running: boolean;
  /** What the process that ran last wrote. */
  readonly log: string;
  /** A node in this place, under another id than the one before: the lease of a killed one would be waited for. */
  start(): Promise<void>;
  /** SIGTERM by default, by which it drains. Resolves when the process is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

export interface NodePlaceOptions {
  readonly name: string;
  readonly redisUrl: string;
  /** More flags of `starling serve`. */
  readonly flags: readonly string[];
  /** Each is taken where it is free. */
  readonly preferredPorts?: { readonly port: number; readonly apiPort: number } | undefined;
  /** Told when it ends and nobody ended it. */
  readonly onExit?: OnExit | undefined;
}

const HOST = "127.0.0.1";
const CLI = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

export async function nodePlace(options: NodePlaceOptions): Promise<NodePlace> {
  const { name, redisUrl, flags, preferredPorts, onExit } = options;
  const [port, apiPort] = [await freePort(preferredPorts?.port), await freePort(preferredPorts?.apiPort)];
  const apiUrl = `http://${HOST}:${apiPort}`;
  let incarnation = 0;
  let process_: Program | undefined;
  return {
    name,
    host: HOST,
    port,
    apiPort,
    apiUrl,
    wsUrl: `ws://${HOST}:${port}`,
    get pid() {
      return process_?.pid ?? 0;
    },
    get running() {
      return process_?.running ?? false;
    },
    get log() {
      return process_?.log ?? "";
    },
    async start() {
      if (!existsSync(CLI)) throw new Error("dist/ is not built: npm run build");
      incarnation++;
      const own = {
        "node-id": incarnation === 1 ? name : `${name}-${incarnation}`,
        ...{ port, "api-port": apiPort, redis: redisUrl },
        // As docker-compose.yml has it: Envoy adds the one address that it saw.
        "client-address-hops": 1,
        "log-format": "json",
      };
      process_ = await startProgram({
        name,
        command: process.execPath,
        args: [
          ...[CLI, "serve"],
          ...Object.entries(own).map(([flag, value]) => `--${flag}=${value}`),
          ...flags,
        ],
        env: withoutOptions(process.env),
        isUp: () => answers(`${apiUrl}/readyz`),
        onExit,
      });
    },
    end: async (signal) => process_?.end(signal),
  };
}

/** A node's options of whoever runs this must not reach the stack's nodes. */
function withoutOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^STARLING_|^NODE_ENV$/.test(name)));
}
