import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { percentileUs } from "../load/histogram.js";
import type { FromHttpLoad, HttpLoad, HttpReport, HttpRequest } from "../load/http-process.js";
import { signedPath } from "../protocols/pusher-api.js";
import { appKeyOf } from "../protocols/pusher.js";
import { bind } from "../runner/processes.js";
import { limitOf, limitProblems, startMeter, type Meter } from "../runner/measure.js";
import type { BenchOptions } from "../runner/options.js";
import type { PeerAbility } from "../types.js";
import { OVERHEAD_SECONDS, countText, figure, hasServerCpu, type Case, type CaseBench } from "./case.js";

const PROCESS = fileURLToPath(new URL("../load/http-process.ts", import.meta.url));
const CONNECTIONS = 50;
const MANY = 100;
/** Signed before it is measured, which costs the generator as much as the server. */
const SIGNED_REQUESTS = 500;

/** An operation of a server API. */
interface Operation {
  readonly name: string;
  /** Of each request. */
  readonly publications: number;
  readonly needs: readonly PeerAbility[];
  readonly requests: (bench: CaseBench, apiUrl: string) => readonly HttpRequest[];
}

/** Starling's API, one publication per request and many; and Pusher's. */
export function httpCases(options: BenchOptions): Case[] {
  const { attach, quick } = options;
  const own = [publish("publish", 1), publish("publish-many", quick ? 10 : MANY)];
  const operations = attach === undefined ? [...own, EVENTS] : attach.protocol === "pusher" ? [EVENTS] : own;
  return operations.map((operation) => httpCase(options, operation));
}

function publish(name: "publish" | "publish-many", publications: number): Operation {
  return {
    name,
    publications,
    needs: ["api"],
    requests({ options }, apiUrl) {
      const publication = { channel: "bench-http", content: "x".repeat(options.payloadBytes) };
      const body = publications === 1 ? publication : { publications: Array(publications).fill(publication) };
      return [{ path: new URL(`/v1/${name}`, apiUrl).pathname, body: JSON.stringify(body) }];
    },
  };
}

const EVENTS: Operation = {
  name: "events",
  publications: 1,
  needs: ["events"],
  requests({ target, options }, url) {
    const { secret, urls } = target;
    if (secret === undefined) throw new Error("requests are signed: give the app's --secret");
    const api = { url, key: appKeyOf(new URL(urls[0]!)), secret };
    return Array.from({ length: SIGNED_REQUESTS }, (_, index) => {
      // As SDKs send it: a string of JSON.
      const data = JSON.stringify({ content: String(index).padEnd(options.payloadBytes, "x") });
      const body = JSON.stringify({ name: "bench", data, channels: ["bench-http"] });
      return { path: signedPath(api, "events", body), body };
    });
  },
};

function httpCase(options: BenchOptions, { name, publications, needs, requests }: Operation): Case {
  const connections = options.connections ?? (options.quick ? 5 : CONNECTIONS);
  return {
    scenario: "http",
    variant: `${name}${publications > 1 ? `, ${publications} each` : ""}, ${countText(connections)} connections`,
    nodes: options.nodes ?? 1,
    features: { api: true },
    redis: "on demand",
    needs,
    seconds: options.warmUpSeconds + options.seconds + OVERHEAD_SECONDS,
    async run(bench) {
      const apiUrl = bench.target.apiUrl;
      if (apiUrl === undefined) throw new Error("the URL of the server API is not known: give --api-url");
      const apiKey = bench.attached?.apiKey;
      const { report, cpu, series } = await runHttpLoad(bench, {
        url: new URL(apiUrl).origin,
        headers: {
          "content-type": "application/json",
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        },
        requests: requests(bench, apiUrl),
        connections,
        warmUpSeconds: options.warmUpSeconds,
        seconds: options.seconds,
      });
      const limited = limitOf(cpu, bench);
      const published = report.succeeded * publications;
      const { latency } = report;
      const figures = [
        figure("publicationsPerSecond", "publications", "1/s", "higher", published / report.seconds),
        figure("requestsPerSecond", "requests", "1/s", "higher", report.succeeded / report.seconds),
      ];
      if (latency !== undefined) {
        figures.push(
          figure("meanUs", "request latency, mean", "us", "lower", latency.meanUs),
          figure("p99Ms", "request latency p99", "ms", "lower", percentileUs(latency, 99) / 1000),
        );
      }
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
      const why = report.firstError === undefined ? "" : `: ${report.firstError}`;
      return {
        figures,
        series: series.filter(({ name }) => name !== "deliveries" && name !== "connections"),
        cpu,
        limited,
        problems: [
          ...(report.refused === 0 ? [] : [`${report.refused} requests refused${why}`]),
          ...(report.errors === 0 ? [] : [`${report.errors} requests failed${why}`]),
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
      child.once("exit", (code, signal) => reject(new Error(`the HTTP load ended with ${code ?? signal}`)));
      child.on("message", (message: FromHttpLoad) => {
        if (message.kind === "loaded") child.send(load);
        else if (message.kind === "measuring") meter = startMeter(bench, [child.pid!]);
        else if (message.kind === "failed") reject(new Error(`the HTTP load failed: ${message.message}`));
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
