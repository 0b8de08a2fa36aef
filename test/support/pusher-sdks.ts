/** Pusher's SDKs for back ends, in their own languages, called in one way. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestNode } from "./nodes.js";
import { APP, MASTER_KEY, bodyOf, portOf, sdkOf } from "./pusher-clients.js";

export interface SentEvent {
  readonly channel: string;
  readonly name: string;
  readonly data: unknown;
  readonly socket_id?: string;
  readonly info?: string;
}

/** A method of the SDK and its arguments. */
export type Call = { readonly secret?: string; readonly appId?: string } & (
  | {
      readonly call: "trigger";
      readonly channels: readonly string[];
      readonly event: string;
      readonly data: unknown;
      readonly socketId?: string;
      readonly info?: string;
    }
  | { readonly call: "batch"; readonly events: readonly SentEvent[] }
  | { readonly call: "channels"; readonly prefix?: string; readonly info?: string }
  | { readonly call: "channel"; readonly channel: string; readonly info?: string }
  | { readonly call: "users"; readonly channel: string }
  | { readonly call: "sendToUser"; readonly user: string; readonly event: string; readonly data: unknown }
  | { readonly call: "terminate"; readonly user: string }
  | {
      readonly call: "authorize";
      readonly channel: string;
      readonly socketId: string;
      readonly member?: { readonly user_id: string; readonly user_info?: object };
    }
  | { readonly call: "authenticate"; readonly socketId: string; readonly user: { readonly id: string } }
);

export interface Sdk {
  /** What the SDK gives, as JSON. @throws Error with what it says */
  call(call: Call): Promise<unknown>;
  end(): void;
}

const FOLDER = fileURLToPath(new URL("pusher-sdks/", import.meta.url));

/** `pusher` of npm, in this process. */
export function nodeSdk(node: TestNode): Promise<Sdk> {
  async function answer(call: Call): Promise<unknown> {
    const { appId, secret } = call;
    const sdk = sdkOf(node, {
      ...(appId === undefined ? undefined : { appId }),
      ...(secret === undefined ? undefined : { secret }),
    });
    switch (call.call) {
      case "trigger": {
        const { channels, event, data, socketId, info } = call;
        const params = {
          ...(socketId === undefined ? undefined : { socket_id: socketId }),
          ...(info === undefined ? undefined : { info }),
        };
        return bodyOf(sdk.trigger([...channels], event, data, params));
      }
      case "batch":
        return bodyOf(sdk.triggerBatch([...call.events]));
      case "channels": {
        const { prefix, info } = call;
        const params = {
          ...(prefix === undefined ? undefined : { filter_by_prefix: prefix }),
          ...(info === undefined ? undefined : { info }),
        };
        return bodyOf(sdk.get({ path: "/channels", params }));
      }
      case "channel": {
        const params = call.info === undefined ? {} : { info: call.info };
        return bodyOf(sdk.get({ path: `/channels/${call.channel}`, params }));
      }
      case "users":
        return bodyOf(sdk.get({ path: `/channels/${call.channel}/users` }));
      case "sendToUser":
        return bodyOf(sdk.sendToUser(call.user, call.event, call.data));
      case "terminate":
        return bodyOf(sdk.terminateUserConnections(call.user));
      case "authorize":
        return sdk.authorizeChannel(call.socketId, call.channel, call.member);
      case "authenticate":
        return sdk.authenticateUser(call.socketId, call.user);
    }
  }
  return Promise.resolve({
    call: (call) =>
      answer(call).catch((error: unknown) => {
        const { status, body, message } = error as { status?: number; body?: string; message: string };
        throw new Error(status === undefined ? message : `${status} ${body}`);
      }),
    end: () => undefined,
  });
}

/** `npm test` puts it where it is found. */
export const PYTHON = "python-with-pusher";

export function pythonSdk(node: TestNode): Promise<Sdk> {
  return startDriver(PYTHON, [join(FOLDER, "driver.py")], node);
}

/**
 * Builds the caller of the SDK for Go, once.
 * @returns its path, or why it cannot be had here, where that is no fault of ours
 */
export function buildGoDriver(): { readonly path: string } | { readonly missing: string } {
  const go = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync("go", args, { cwd: join(FOLDER, "go"), encoding: "utf8", timeout: 300_000 });
  const { error, status, stderr } = go("mod", "download");
  if (error !== undefined) return { missing: "Go is not installed (https://go.dev/dl)" };
  if (status !== 0) return { missing: `Go's modules cannot be downloaded: ${String(stderr).split("\n")[0]}` };
  const path = join(mkdtempSync(join(tmpdir(), "starling-go-")), "driver");
  const built = go("build", "-buildvcs=false", "-o", path, ".");
  if (built.status !== 0) throw new Error(`go build: ${String(built.stderr)}`);
  return { path };
}

export function goSdk(path: string, node: TestNode): Promise<Sdk> {
  return startDriver(path, [], node);
}

/** A program that reads calls and writes outcomes, one on each line. */
async function startDriver(command: string, args: readonly string[], node: TestNode): Promise<Sdk> {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      PATH: process.env["PATH"],
      PUSHER_APP_ID: APP.id,
      PUSHER_KEY: APP.key,
      PUSHER_SECRET: APP.secret,
      PUSHER_HOST: "127.0.0.1",
      PUSHER_PORT: String(portOf(node)),
      PUSHER_MASTER_KEY: MASTER_KEY,
    },
  });
  const ended = once(child, "exit").then(() => {
    throw new Error(`${command} ended`);
  });
  ended.catch(() => undefined);
  await once(child, "spawn").catch((error: unknown) => {
    throw new Error(`${command} cannot be started: npm test installs it`, { cause: error });
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let last: Promise<unknown> = Promise.resolve();
  async function ask(call: Call): Promise<unknown> {
    child.stdin.write(`${JSON.stringify(call)}\n`);
    const { value: line } = (await Promise.race([lines.next(), ended])) as IteratorResult<string, undefined>;
    if (line === undefined) return ended;
    const { value, error } = JSON.parse(line) as { value?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return value;
  }
  child.stdin.on("error", () => undefined); // "exit" follows
  return {
    call(call) {
      const answer = last.then(() => ask(call));
      last = answer.catch(() => undefined);
      return answer;
    },
    end: () => void child.kill("SIGKILL"),
  };
}
