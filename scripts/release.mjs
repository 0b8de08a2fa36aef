/**
 * Packs starling-edge and starling-client, and installs each into an empty project, where ten lines must run:
 *
 *     node scripts/release.mjs [--out DIR] [--tag v1.2.3]    npm, pnpm and yarn 1; Jest; the types. Needs the registry
 *     node scripts/release.mjs --quick                       the client by npm: needs no network
 *
 * --out keeps the packages, which are then those to publish; --tag must be the packages' version.
 */

import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

const ROOT = dirname(import.meta.dirname);
const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, out: { type: "string" }, tag: { type: "string" } },
});
/** What no development needs is fetched here, in one version each. */
const PNPM = "pnpm@10.34.9";
const YARN = "yarn@1.22.22";
const JEST = "jest@30.5.2";
const ATTW = "@arethetypeswrong/cli@0.18.5";
const CLIENT_LIMIT_BYTES = 1_000_000;
/** How long one command may take: from the registry, or without network. */
const COMMAND_MS = options.quick ? 60_000 : 600_000;
const START_MS = 30_000;

const temporary = mkdtempSync(join(tmpdir(), "starling-release-"));
process.on("exit", () => rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** By name: how a package from a file gets into the project in `cwd`, and how its command is then run. */
const MANAGERS = {
  npm: {
    add: (file) => [
      "npm",
      "install",
      options.quick ? "--offline" : "--prefer-offline",
      "--no-audit",
      "--no-fund",
      file,
    ],
    command: ["npx", "--no", "--", "starling-edge"],
  },
  pnpm: {
    add: (file) => ["npx", "--yes", PNPM, "add", `--store-dir=${join(temporary, "pnpm-store")}`, file],
    command: ["npx", "--yes", PNPM, "exec", "starling"],
  },
  yarn: {
    add: (file) => [
      "npx",
      "--yes",
      YARN,
      "add",
      `--cache-folder=${join(temporary, "yarn-cache")}`,
      `file:${file}`,
    ],
    command: ["npx", "--yes", YARN, "--silent", "starling"],
  },
};

const CLIENT_LINES = `
const url = process.argv[2];
async function run(codec) {
  const client = connect(url, { WebSocket, ...(codec && { codec }) });
  const received = new Promise((resolve) => client.subscribe("room", ({ content }) => resolve(content)));
  await client.publish("room", { text: "hi" });
  if ((await received).text !== "hi") throw new Error("another message came");
  client.close();
}
run().then(() => run(msgpack)).then(() => console.log("ran"));
`;
const CLIENT_FILES = {
  "lines.mjs": `import { connect } from "starling-client";
import { msgpack } from "starling-client/msgpack";
const { WebSocket } = globalThis.WebSocket ? globalThis : await import("ws");
${CLIENT_LINES}`,
  "lines.cjs": `const { connect } = require("starling-client");
const { msgpack } = require("starling-client/msgpack");
const { WebSocket } = globalThis.WebSocket ? globalThis : require("ws");
${CLIENT_LINES}`,
  // A page's classic script: what it declares is the page's global.
  "lines-script.cjs": `const script = require("fs").readFileSync("node_modules/starling-client/dist/starling.js", "utf8");
require("vm").runInThisContext(script);
const { connect } = globalThis.Starling;
const { msgpack } = require("starling-client/msgpack");
const { WebSocket } = globalThis.WebSocket ? globalThis : require("ws");
${CLIENT_LINES}`,
};
const JEST_TEST = `const { connect, StarlingError } = require("starling-client");
const { msgpack } = require("starling-client/msgpack");
test("loads", () => {
  expect(msgpack.subprotocol).toBe("starling.v1.msgpack");
  expect(() => connect("none")).toThrow(StarlingError);
});
`;
const EDGE_LINES = `import { createLog, loadConfig, startNode } from "starling-edge";
import { connect } from "starling-edge/client";
import { msgpack } from "starling-edge/client/msgpack";
const { WebSocket } = globalThis.WebSocket ? globalThis : await import("ws");
const { config } = loadConfig({ env: { STARLING_PORT: "0", STARLING_API_PORT: "0" } });
const node = await startNode(config, createLog({ level: "error", format: "json" }));
const client = connect(node.wsUrl, { WebSocket, codec: msgpack });
const received = new Promise((resolve) => client.subscribe("room", ({ content }) => resolve(content)));
await client.publish("room", { text: "hi" });
if ((await received).text !== "hi") throw new Error("another message came");
client.close();
await node.stop();
console.log("ran");
`;

try {
  checkVersions();
  const client = pack("starling-client", ["--workspace", "starling-client"]);
  if (options.quick) {
    const { url, stop } = await serve(process.execPath, [join(ROOT, "dist/cli.js")], ROOT);
    tryClient("npm", client, url);
    stop();
  } else {
    const edge = pack("starling-edge", []);
    for (const name of Object.keys(MANAGERS)) await tryBoth(name, edge, client);
    tryTypes(client);
  }
  console.log("release: all ran");
} catch (error) {
  console.error(`release: ${error.message}`);
  process.exitCode = 1;
}
// A node that is still there would keep this running.
process.exit();

function manifestOf(directory) {
  return JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
}

/** Both packages are released together, under one version, and the changelog says what it brings. */
function checkVersions() {
  const { version } = manifestOf(ROOT);
  const other = manifestOf(join(ROOT, "packages/client")).version;
  if (other !== version)
    throw new Error(`starling-client is ${other} and starling-edge ${version}: give both one version`);
  if (options.tag !== undefined && options.tag !== `v${version}`) {
    throw new Error(
      `the tag is ${options.tag} and the packages are ${version}: tag v${version}, or raise the version`,
    );
  }
  if (!readFileSync(join(ROOT, "CHANGELOG.md"), "utf8").includes(`\n## ${version}`)) {
    throw new Error(`CHANGELOG.md has no "## ${version}": say there what it brings`);
  }
}

/** @returns the file */
function pack(name, args) {
  const out = options.out === undefined ? temporary : resolve(options.out);
  mkdirSync(out, { recursive: true });
  // The packages' own scripts build first.
  const { stdout } = run(["npm", "pack", "--json", `--pack-destination=${out}`, ...args], ROOT);
  const report = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
  const [{ filename, size }] = Array.isArray(report) ? report : Object.values(report);
  console.log(`release: ${filename}, ${kilobytes(size)}`);
  return join(out, filename);
}

async function tryBoth(manager, edge, client) {
  const project = emptyProject(`${manager}-edge`);
  run(MANAGERS[manager].add(edge), project);
  giveWebSocket(project);
  writeFileSync(join(project, "lines.mjs"), EDGE_LINES);
  expectRan(run(["node", "lines.mjs"], project));
  const { version } = manifestOf(ROOT);
  const [command, ...args] = MANAGERS[manager].command;
  const said = run([command, ...args, "--version"], project).stdout.trim();
  if (said !== version) throw new Error(`${manager}: the command says version "${said}", not ${version}`);
  console.log(`release: starling-edge by ${manager}: ran, ${kilobytes(sizeOf(project))} installed`);
  const { url, stop } = await serve(join(project, "node_modules/.bin/starling"), [], project);
  tryClient(manager, client, url);
  stop();
  rmSync(project, { recursive: true });
}

function tryClient(manager, client, url) {
  const project = emptyProject(`${manager}-client`);
  run(MANAGERS[manager].add(client), project);
  const bytes = sizeOf(join(project, "node_modules/starling-client/"));
  if (bytes > CLIENT_LIMIT_BYTES)
    throw new Error(`starling-client is ${bytes} bytes installed, the limit is ${CLIENT_LIMIT_BYTES}`);
  giveWebSocket(project);
  for (const [file, text] of Object.entries(CLIENT_FILES)) {
    writeFileSync(join(project, file), text);
    expectRan(run(["node", file, url], project));
  }
  console.log(
    `release: starling-client by ${manager}: ran as ES module, CommonJS and script, ${kilobytes(bytes)} installed`,
  );
  if (options.quick || manager !== "npm") return;
  writeFileSync(join(project, "loads.test.js"), JEST_TEST);
  run(["npx", "--yes", JEST], project);
  console.log("release: starling-client loads in Jest");
}

function tryTypes(client) {
  const { stdout } = run(["npx", "--yes", ATTW, "--no-emoji", client], temporary);
  console.log(stdout);
}

function emptyProject(name) {
  const project = join(temporary, name);
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name, version: "1.0.0", private: true }));
  return project;
}

/** Node 20 has none: there, as the README says, it is that of ws. */
function giveWebSocket(project) {
  if (globalThis.WebSocket !== undefined) return;
  cpSync(join(ROOT, "node_modules/ws"), join(project, "node_modules/ws"), { recursive: true });
}

/** Starts a node by this command. */
function serve(command, args, cwd) {
  const child = spawn(command, [...args, "serve", "--port", "0", "--api-port", "0"], {
    cwd,
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  return new Promise((resolved, reject) => {
    let output = "";
    setTimeout(
      () => reject(new Error(`the node did not start in ${START_MS / 1000} s:\n${output}`)),
      START_MS,
    ).unref();
    const read = (chunk) => {
      output += chunk;
      const [, url] = /(ws:\/\/\S+)\n/.exec(output) ?? [];
      if (url !== undefined) resolved({ url, stop: () => child.kill("SIGKILL") });
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the node ended with ${code}:\n${output}`)));
  });
}

/** Without a node's options of whoever runs this, and those of the npm that runs this in its own project. */
function environment() {
  const isForeign = (name) =>
    /^STARLING_|^npm_(config_(local_)?prefix|package_|lifecycle_)|^INIT_CWD$/.test(name);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isForeign(name)));
}

function run([command, ...args], cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: environment(),
    encoding: "utf8",
    timeout: COMMAND_MS,
    killSignal: "SIGKILL",
  });
  if (error?.code === "ETIMEDOUT") {
    throw new Error(
      `${command} ${args.join(" ")} did not end in ${COMMAND_MS / 1000} s:\n${stdout}${stderr}`,
    );
  }
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  return { stdout };
}

function expectRan({ stdout }) {
  if (stdout.trim() !== "ran") throw new Error(`the ten lines said:\n${stdout}`);
}

/** In bytes of content; links are not followed, and those that a store's links are one file count once. */
function sizeOf(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function kilobytes(bytes) {
  return bytes < 10_000_000 ? `${Math.round(bytes / 1000)} kB` : `${Math.round(bytes / 1_000_000)} MB`;
}
