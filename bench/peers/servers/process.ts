/** What every server of this folder has in common as a process. */

import { parseArgs } from "node:util";

export const HOST = "127.0.0.1";
/** Twice Starling's maxBufferedBytes: what its own sockets may hold at most. */
export const MAX_BUFFERED_BYTES = 2 * 1_048_576;
export const MAX_FRAME_BYTES = 1_048_576;
/** Apart from any other bench on the same Redis: its nodes have one Redis of their own, or one they are told. */
export const BUS = "starling-bench:bus";
export const STATE = "starling-bench:state";

export interface ServerOptions {
  readonly redisUrl: string | undefined;
  readonly batched: boolean;
  readonly state: boolean;
}

export function readOptions(): ServerOptions {
  const { values } = parseArgs({
    options: { redis: { type: "string" }, batched: { type: "boolean" }, state: { type: "boolean" } },
  });
  return { redisUrl: values.redis, batched: values.batched ?? false, state: values.state ?? false };
}

/** Tells the bench, and ends with it. */
export function ready(port: number): void {
  // A plain exit, so that --cpu-prof writes its file.
  process.once("SIGTERM", () => process.exit(0));
  process.once("disconnect", () => process.exit(0));
  process.send!({ port });
}
