/** The real Envoy with envoy.yaml, in front of nodes of this machine. */

import { spawnSync } from "node:child_process";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localEnvoyConfig, type Endpoint, type EnvoyConfig, type EnvoyPlaces } from "./envoy-config.js";
import { answers, requirePrograms, startProgram, type OnExit, type Program } from "./program.js";

export interface EnvoyOptions {
  readonly nodes: readonly Endpoint[];
  readonly places: EnvoyPlaces;
  /** Changes what envoy.yaml says: time-outs that are too long for a test. */
  readonly adjust?: ((config: EnvoyConfig) => void) | undefined;
  /** Told when it ends and nobody ended it. */
  readonly onExit?: OnExit | undefined;
}

const TRY_MS = 10_000;
const SAID_CHARS = 300;

/**
 * Another program is called envoy too (Laravel's), and an old Envoy does not know all of envoy.yaml.
 * @returns why the envoy on the PATH cannot run it; undefined where it can
 */
export async function whyEnvoyCannotRun({
  nodes,
  places,
}: Pick<EnvoyOptions, "nodes" | "places">): Promise<string | undefined> {
  const config = JSON.stringify(await localEnvoyConfig(nodes, places));
  // Nothing else runs yet that would wait for it.
  const { status, stdout, stderr, error } = spawnSync(
    "envoy",
    ["--mode", "validate", "--log-level", "error", "--config-yaml", config],
    {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: TRY_MS,
      killSignal: "SIGKILL",
    },
  );
  if (status === 0 && /^configuration .*OK$/m.test(stdout)) return undefined;
  const [said = "it said nothing"] = `${error?.message ?? ""}\n${stderr}\n${stdout}`.match(/\S.*/g) ?? [];
  return `the envoy on the PATH cannot run envoy.yaml: ${said.trim().slice(0, SAID_CHARS)}`;
}

/**
 * Resolves once it listens, which it does when it has checked every node once.
 * @throws StartError naming what to install, or what Envoy said
 */
export async function launchEnvoy({ nodes, places, adjust, onExit }: EnvoyOptions): Promise<Program> {
  requirePrograms("envoy");
  const config = await localEnvoyConfig(nodes, places);
  adjust?.(config);
  const directory = await mkdtemp(join(tmpdir(), "starling-envoy-"));
  const file = join(directory, "envoy.yaml");
  // JSON is YAML.
  await writeFile(file, JSON.stringify(config));
  return startProgram({
    name: "envoy",
    command: "envoy",
    // Without hot restart, which would share memory with every other Envoy of this machine.
    args: ["-c", file, "--log-level", "warning", "--concurrency", "2", "--disable-hot-restart"],
    directory,
    isUp: async () => (await answers(`${urlAt(places.admin)}/ready`)) && (await answers(metricsUrl(places))),
    onExit,
  });
}

export function metricsUrl({ metrics }: EnvoyPlaces): string {
  return `${urlAt(metrics)}/stats/prometheus`;
}

export function urlAt({ host, port }: { readonly host: string; readonly port: number }): string {
  return `http://${host}:${port}`;
}
