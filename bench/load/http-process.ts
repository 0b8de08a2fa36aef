/** Makes the HTTP load in a process of its own, so that its CPU is told apart and it can be bound to the load's cores. */

import { Pool } from "undici";
import type { LatencySummary } from "../types.js";
import { LatencyRecorder, summarize } from "./histogram.js";
import { nowUs } from "./marker.js";

/** A POST request. */
export interface HttpRequest {
  readonly path: string;
  readonly body: string;
}

export interface HttpLoad {
  /** Of the server. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent in turn, again and again. */
  readonly requests: readonly HttpRequest[];
  /** Each waits for its answer before it sends the next. */
  readonly connections: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

export type FromHttpLoad =
  | { readonly kind: "loaded" }
  | { readonly kind: "measuring" }
  | { readonly kind: "done"; readonly report: HttpReport }
  | { readonly kind: "failed"; readonly message: string };

export interface HttpReport {
  readonly seconds: number;
  readonly succeeded: number;
  readonly refused: number;
  readonly errors: number;
  /** What was said of the first that was refused or failed. */
  readonly firstError?: string;
  /** Absent where nothing was answered. */
  readonly latency?: LatencySummary;
}

const REASON_MAX = 200;
const RETRY_SECONDS = 0.1;

function tell(message: FromHttpLoad): void {
  if (process.connected) process.send!(message);
}

async function run({
  url,
  headers,
  requests,
  connections,
  warmUpSeconds,
  seconds,
}: HttpLoad): Promise<HttpReport> {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const latency = new LatencyRecorder();
  const count = { succeeded: 0, refused: 0, errors: 0 };
  let firstError: string | undefined;
  let turn = 0;
  let stopped = false;
  const sendInTurn = async (): Promise<void> => {
    while (!stopped) {
      const sentUs = nowUs();
      try {
        const { status, body } = await post(pool, headers, requests[turn++ % requests.length]!);
        latency.record(nowUs() - sentUs);
        // Of many publications, one that failed has an error in its place, and the answer is 200.
        if (status >= 200 && status < 300 && !body.includes('"error"')) {
          count.succeeded++;
        } else {
          count.refused++;
          firstError ??= `${status} ${body}`.slice(0, REASON_MAX);
        }
      } catch (error) {
        count.errors++;
        firstError ??= String(error).slice(0, REASON_MAX);
        await sleep(RETRY_SECONDS);
      }
    }
  };
  for (let sender = 0; sender < connections; sender++) void sendInTurn();
  if (warmUpSeconds > 0) await sleep(warmUpSeconds);
  Object.assign(count, { succeeded: 0, refused: 0, errors: 0 });
  latency.reset();
  tell({ kind: "measuring" });
  const begin = performance.now();
  await sleep(seconds);
  const measured = (performance.now() - begin) / 1000;
  const summary = summarize([latency.encode()]);
  const report = {
    seconds: measured,
    ...count,
    ...(firstError !== undefined && { firstError }),
    ...(summary !== undefined && { latency: summary }),
  };
  stopped = true;
  // What is under way fails now, and is in no count.
  await pool.destroy();
  return report;
}

/** By dispatch: request() makes a stream of each answer, for twice the CPU. */
async function post(
  pool: Pool,
  headers: Readonly<Record<string, string>>,
  { path, body }: HttpRequest,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status = 0;
    pool.dispatch(
      { method: "POST", path, headers, body },
      {
        onRequestStart: () => undefined,
        onResponseStart(_, statusCode) {
          status = statusCode;
        },
        onResponseData(_, chunk) {
          chunks.push(chunk);
        },
        onResponseEnd: () => resolve({ status, body: Buffer.concat(chunks).toString() }),
        onResponseError: (_, error) => reject(error),
      },
    );
  });
}

async function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

process.on("message", (load: HttpLoad) => {
  run(load).then(
    (report) => tell({ kind: "done", report }),
    (error: unknown) => tell({ kind: "failed", message: String(error) }),
  );
});
process.once("disconnect", () => process.exit(0));
process.on("SIGINT", () => undefined);
tell({ kind: "loaded" });
