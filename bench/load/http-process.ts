/** Runs autocannon in a process of its own, so that its CPU is told apart and it can be bound to the load's cores. */

import autocannon from "autocannon";

export interface HttpLoad {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
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
  /** To the millisecond. */
  readonly p99Ms: number;
}

function tell(message: FromHttpLoad): void {
  if (process.connected) process.send!(message);
}

async function run(load: HttpLoad): Promise<HttpReport> {
  const { warmUpSeconds, seconds, ...request } = load;
  const options = {
    ...request,
    method: "POST" as const,
    // publish-many answers 200 with an error in place of what failed.
    verifyBody: (body: string | Buffer | undefined) => body !== undefined && !body.includes('"error"'),
  };
  // autocannon counts in whole seconds.
  if (warmUpSeconds > 0) await autocannon({ ...options, duration: Math.max(1, Math.round(warmUpSeconds)) });
  tell({ kind: "measuring" });
  const result = await autocannon({ ...options, duration: Math.max(1, Math.round(seconds)) });
  return {
    seconds: result.duration,
    succeeded: result["2xx"],
    refused: result.non2xx,
    errors: result.errors + result.mismatches,
    p99Ms: result.latency.p99,
  };
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
