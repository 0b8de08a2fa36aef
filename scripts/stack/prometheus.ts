/** The real Prometheus with prometheus/prometheus.yml, its targets replaced by those of this machine. */

import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { freePort } from "../../src/cli/ports.js";
import { answers, requirePrograms, startProgram, type OnExit } from "../../src/cli/programs/program.js";

export interface PrometheusOptions {
  /** host:port by job of prometheus.yml; the job `prometheus` finds itself. */
  readonly targets: Readonly<Record<string, readonly string[]>>;
  /** How often it scrapes and evaluates rules; as prometheus.yml has it by default. */
  readonly scrapeSeconds?: number;
  /** Taken where it is free. */
  readonly preferredPort?: number | undefined;
  readonly onExit?: OnExit | undefined;
}

export interface Prometheus {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

interface PrometheusConfig {
  global: Record<string, string>;
  rule_files: string[];
  scrape_configs: Record<string, unknown>[];
}

const FILE = fileURLToPath(new URL("../../prometheus/prometheus.yml", import.meta.url));

/** @throws StartError naming what to install, or what Prometheus said */
export async function startPrometheus({
  targets,
  scrapeSeconds,
  preferredPort,
  onExit,
}: PrometheusOptions): Promise<Prometheus> {
  requirePrograms("prometheus");
  const port = await freePort(preferredPort);
  const config = parse(await readFile(FILE, "utf8")) as PrometheusConfig;
  if (scrapeSeconds !== undefined) {
    const interval = `${scrapeSeconds}s`;
    config.global = { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval };
  }
  config.rule_files = config.rule_files.map((pattern) => join(dirname(FILE), pattern));
  const all: Readonly<Record<string, readonly string[]>> = { prometheus: [`127.0.0.1:${port}`], ...targets };
  config.scrape_configs = config.scrape_configs.map(({ dns_sd_configs: _, ...scrape }) => ({
    ...scrape,
    static_configs: [{ targets: all[String(scrape["job_name"])] ?? [] }],
  }));
  const directory = await mkdtemp(join(tmpdir(), "starling-prometheus-"));
  const file = join(directory, "prometheus.yml");
  await writeFile(file, stringify(config));
  const url = `http://127.0.0.1:${port}`;
  const running = await startProgram({
    name: "prometheus",
    command: "prometheus",
    args: [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    directory,
    isUp: () => answers(`${url}/-/ready`),
    onExit,
  });
  return { url, pid: running.pid, stop: () => running.end() };
}
