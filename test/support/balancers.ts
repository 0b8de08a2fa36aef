/** The real HAProxy and nginx with the configurations of docs/balancers.md: addresses and ports are replaced, no more. */

import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../src/cli/ports.js";
import type { Endpoint } from "../../src/cli/programs/envoy-config.js";
import { startProgram, type Program } from "../../src/cli/programs/program.js";

export interface Balancer {
  readonly wsUrl: string;
  readonly apiUrl: string;
  /** What it wrote of requests. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

export interface BalancerOptions {
  /** In place of the page's two. */
  readonly nodes: readonly [Endpoint, Endpoint];
  /** Changes what the page says: time-outs that are too long for a test. */
  readonly adjust?: (config: string) => string;
}

/** @throws Error where the page has none, or more than one */
export async function documented(language: "haproxy" | "nginx"): Promise<string> {
  const page = await readFile(new URL("../../docs/balancers.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))];
  if (blocks.length !== 1)
    throw new Error(`docs/balancers.md has ${blocks.length} configurations of ${language}`);
  return blocks[0]![1]!;
}

/** @throws Error where the text does not have it: the page has changed */
export function replace(text: string, from: string | RegExp, to: string): string {
  const replaced = text.replaceAll(typeof from === "string" ? from : new RegExp(from, "gm"), to);
  if (replaced === text) throw new Error(`docs/balancers.md has no ${String(from)}`);
  return replaced;
}

function withNodes(config: string, nodes: BalancerOptions["nodes"]): string {
  let text = config;
  for (const [index, { host, port, apiPort }] of nodes.entries()) {
    const address = `10.0.0.${11 + index}`;
    text = replace(text, `${address}:8000`, `${host}:${port}`);
    text = replace(text, `${address}:8001`, `${host}:${apiPort}`);
  }
  return text;
}

export async function startHaproxy({ nodes, adjust = same }: BalancerOptions): Promise<Balancer> {
  const [clients, api] = [await freePort(), await freePort()];
  let config = withNodes(await documented("haproxy"), nodes);
  config = replace(config, "bind :8080", `bind 127.0.0.1:${clients}`);
  config = replace(config, "bind :8081", `bind 127.0.0.1:${api}`);
  // One port for all there; here all nodes are on one machine, so each has its own.
  config = replace(config, "check port 8001 ", "check ");
  for (const { host, port, apiPort } of nodes) {
    config = replace(config, new RegExp(`${host}:${port}$`), `${host}:${port} port ${apiPort}`);
  }
  config = replace(config, "defaults\n", "defaults\n    log stdout format raw local0\n");
  return start("haproxy", adjust(config), clients, api, (file) => ["-db", "-f", file]);
}

export async function startNginx({ nodes, adjust = same }: BalancerOptions): Promise<Balancer> {
  const [clients, api] = [await freePort(), await freePort()];
  let config = withNodes(await documented("nginx"), nodes);
  config = replace(config, "listen 8080;", `listen 127.0.0.1:${clients};`);
  config = replace(config, "listen 8081;", `listen 127.0.0.1:${api};`);
  config = replace(config, "access_log /var/log/nginx/access.log", `access_log ${ACCESS_LOG}`);
  return startNginxWith(adjust(config), clients, api);
}

export function startNginxWith(config: string, clients: number, api: number): Promise<Balancer> {
  return start("nginx", config, clients, api, (file, directory) => {
    // What is compiled in belongs to another user.
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${directory}/${name};`,
    );
    return {
      file: config.replace("http {", `http {\n${temporary.join("\n")}`),
      args: nginxArgs(file, directory),
    };
  });
}

function nginxArgs(file: string, directory: string): string[] {
  return ["-p", directory, "-c", file, "-e", "stderr", "-g", `daemon off; pid ${directory}/pid;`];
}

/** In its directory: nginx cannot open the pipe that its standard output is. */
const ACCESS_LOG = "access.log";

const same = (config: string): string => config;

async function start(
  command: string,
  config: string,
  clients: number,
  api: number,
  describe: (file: string, directory: string) => string[] | { file: string; args: string[] },
): Promise<Balancer> {
  const directory = await mkdtemp(join(tmpdir(), `starling-${command}-`));
  const file = join(directory, "config");
  const described = describe(file, directory);
  const { file: text, args } = Array.isArray(described) ? { file: config, args: described } : described;
  await writeFile(file, text);
  // Started as root, nginx works as somebody else.
  await chmod(directory, 0o755);
  const apiUrl = `http://127.0.0.1:${api}`;
  let program: Program;
  try {
    program = await startProgram({
      name: command,
      command,
      args,
      isUp: async () => (await statusOf(`${apiUrl}/v1/totals`)) === 401,
    });
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
  return {
    wsUrl: `ws://127.0.0.1:${clients}`,
    apiUrl,
    async log() {
      return text.includes(ACCESS_LOG) ? readFile(join(directory, ACCESS_LOG), "utf8") : program.log;
    },
    async stop() {
      await program.end();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Undefined while nobody answers. */
async function statusOf(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
}
