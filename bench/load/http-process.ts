/** Makes the HTTP load in a process of its own, so that its CPU is told apart and it can be bound to the load's cores. */

import type { LatencySummary } from "../types.js";
import { LatencyRecorder, summarize } from "./histogram.js";
import { HttpConnection } from "./http-connection.js";

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
  const target = new URL(url);
  const bytes = requests.map((request) => requestBytes(target, headers, request));
  const latency = new LatencyRecorder();
  const count = { succeeded: 0, refused: 0, errors: 0 };
  let firstError: string | undefined;
  let turn = 0;
  const events = {
    onAnswer(status: number, body: string, us: number): void {
      latency.record(us);
      // Of many publications, one that failed has an error in its place, and the answer is 200.
      if (status >= 200 && status < 300 && !body.includes('"error"')) {
        count.succeeded++;
        return;
      }
      count.refused++;
      firstError ??= `${status} ${body}`.slice(0, REASON_MAX);
    },
    onError(reason: string): void {
      count.errors++;
      firstError ??= reason;
    },
  };
  const open = Array.from(
    { length: connections },
    () => new HttpConnection(target, () => bytes[turn++ % bytes.length]!, events),
  );
  await sleep(warmUpSeconds);
  Object.assign(count, { succeeded: 0, refused: 0, errors: 0 });
  latency.reset();
  tell({ kind: "measuring" });
  const begin = performance.now();
  await sleep(seconds);
  const measured = (performance.now() - begin) / 1000;
  const report = { ...count };
  for (const connection of open) connection.close();
  const summary = summarize([latency.encode()]);
  return {
    seconds: measured,
    ...report,
    ...(firstError !== undefined && { firstError }),
    ...(summary !== undefined && { latency: summary }),
  };
}

function requestBytes(
  { host }: URL,
  headers: Readonly<Record<string, string>>,
  { path, body }: HttpRequest,
): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    `Host: ${host}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`);
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
