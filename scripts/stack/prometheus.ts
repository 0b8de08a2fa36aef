/** The real Prometheus with prometheus/prometheus.yml, its targets replaced by those of this machine. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { answers, freePort, requireProgram, startProgram } from "./programs.js";

export interface PrometheusOptions {
  /** host:port by job of prometheus.yml; the job `prometheus` finds itself. */
  readonly targets: Readonly<Record<string, readonly string[]>>;
  /** How often it scrapes and evaluates rules; as prometheus.yml has it by default. */
  readonly scrapeSeconds?: number;
  readonly onExit?: (what: string) => void;
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

/** @throws MissingProgram, or Error with what Prometheus said */
export async function startPrometheus({
  targets,
  scrapeSeconds,
  onExit,
}: PrometheusOptions): Promise<Prometheus> {
  requireProgram("prometheus");
  const port = await freePort();
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
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
  const file = join(directory, "prometheus.yml");
  await writeFile(file, stringify(config));
  const url = `http://127.0.0.1:${port}`;
  try {
    const running = await startProgram({
      name: "prometheus",
      command: "prometheus",
      args: [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(directory, "data")}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      isUp: () => answers(`${url}/-/ready`),
      onExit,
    });
    return {
      url,
      pid: running.pid,
      async stop() {
        await running.end();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
