import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { FromHttpLoad, HttpLoad, HttpReport } from "../load/http-process.js";
import { bind } from "../runner/processes.js";
import { limitOf, limitProblems, startMeter, type Meter } from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, type Case, type CaseBench } from "./case.js";

const PROCESS = fileURLToPath(new URL("../load/http-process.ts", import.meta.url));
const CONNECTIONS = 50;
const MANY = 100;

/** The server API: one publication per request, and many. */
export function httpCases(options: BenchOptions): Case[] {
  return [httpCase(options, "publish", 1), httpCase(options, "publish-many", options.quick ? 10 : MANY)];
}

function httpCase(options: BenchOptions, operation: "publish" | "publish-many", publications: number): Case {
  const connections = options.connections ?? (options.quick ? 5 : CONNECTIONS);
  return {
    scenario: "http",
    variant: `${operation}${publications > 1 ? `, ${publications} each` : ""}, ${countText(connections)} connections`,
    nodes: options.nodes ?? 1,
    features: { api: true },
    redis: "on demand",
    needs: ["api"],
    seconds: options.warmUpSeconds + options.seconds + OVERHEAD_SECONDS,
    async run(bench) {
      const apiUrl = bench.target.apiUrl;
      if (apiUrl === undefined) throw new Error("the URL of the server API is not known: give --api-url");
      const publication = { channel: "bench-http", content: "x".repeat(options.payloadBytes) };
      const body = publications === 1 ? publication : { publications: Array(publications).fill(publication) };
      const apiKey = bench.attached?.apiKey;
      const { report, cpu, series } = await runHttpLoad(bench, {
        url: new URL(`/v1/${operation}`, apiUrl).href,
        headers: {
          "content-type": "application/json",
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify(body),
        connections,
        warmUpSeconds: options.warmUpSeconds,
        seconds: options.seconds,
      });
      const limited = limitOf(cpu, bench);
      const published = report.succeeded * publications;
      const figures = [
        figure("publicationsPerSecond", "publications", "1/s", "higher", published / report.seconds),
        figure("requestsPerSecond", "requests", "1/s", "higher", report.succeeded / report.seconds),
        // autocannon times in milliseconds; with every connection always waiting, the mean follows from the rate.
        figure(
          "meanUs",
          "request latency, mean",
          "us",
          "lower",
          (connections * 1e6 * report.seconds) / report.succeeded,
        ),
        figure("p99Ms", "request latency p99", "ms", "lower", report.p99Ms),
      ];
      if (hasServerCpu(bench)) {
        figures.unshift(
          figure(
            "publicationsPerServerCoreSecond",
            "publications per server core second",
            "1/s",
            "higher",
            published / cpu.serverSeconds,
          ),
        );
      }
      return {
        figures,
        series: series.filter(({ name }) => name !== "deliveries" && name !== "connections"),
        cpu,
        limited,
        problems: [
          ...(report.refused === 0 ? [] : [`${report.refused} requests refused`]),
          ...(report.errors === 0 ? [] : [`${report.errors} requests failed`]),
          ...limitProblems(limited, cpu),
        ],
      };
    },
  };
}

async function runHttpLoad(
  bench: CaseBench,
  load: HttpLoad,
): Promise<{ report: HttpReport } & ReturnType<Meter["stop"]>> {
  const child = fork(PROCESS, [], {
    execArgv: ["--import", "tsx"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  if (bench.placement !== undefined) bind(child.pid!, bench.placement.loadCores);
  let meter: Meter | undefined;
  try {
    return await new Promise((resolve, reject) => {
      child.once("exit", (code, signal) => reject(new Error(`autocannon ended with ${code ?? signal}`)));
      child.on("message", (message: FromHttpLoad) => {
        if (message.kind === "loaded") child.send(load);
        else if (message.kind === "measuring") meter = startMeter(bench, [child.pid!]);
        else if (message.kind === "failed") reject(new Error(`autocannon failed: ${message.message}`));
        else resolve({ report: message.report, ...meter!.stop() });
      });
    });
  } finally {
    meter?.stop();
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
  }
}
