/** What is emitted compiles in other people's projects: the oldest TypeScript that is promised, with skipLibCheck off. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, afterAll, describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const require = createRequire(import.meta.url);
const compilers = ["typescript-oldest", "typescript"].map((name) => {
  const manifest = require.resolve(`${name}/package.json`);
  return {
    version: (require(manifest) as { version: string }).version,
    tsc: join(dirname(manifest), "bin/tsc"),
  };
});

const clientOf = (name: string): string => `
import { connect, type Message } from "${name}";
import { msgpack } from "${name}/msgpack";
export const show = ({ content }: Message<string>): string => content;
const client = connect("ws://localhost", { codec: msgpack });
client.subscribe("room", ({ content }) => content);
export const sent: Promise<unknown> = client.publish("room", new Uint8Array(3));
`;
const BROWSER = `${clientOf("starling-edge/client")}
export const other = connect("ws://localhost", { WebSocket });
`;
const WS = `${clientOf("starling-edge/client")}
import { WebSocket } from "ws";
export const other = connect("ws://localhost", { WebSocket });
`;
const DISPOSED = `${clientOf("starling-edge/client")}
export function use(): void {
  using own = connect("ws://localhost");
  using subscription = own.subscribe("room", () => undefined);
  void subscription.ready;
}
`;
const HOOKS = `
import * as react from "starling-edge/client/react";
import * as vue from "starling-edge/client/vue";
interface Channels { ticks: number }
export function Ticks(): string {
  const client = react.useClient<Channels>("ws://localhost");
  const { subscribed } = react.useSubscription(client, "ticks", ({ content }) => content.toFixed(0));
  const { members } = react.usePresence(client, "ticks");
  return react.useConnectionState(client) + String(subscribed) + String(members.length);
}
const client = vue.useClient<Channels>(() => "ws://localhost");
vue.useSubscription(client, () => "ticks" as const, ({ content }) => content.toFixed(0));
export const state: { readonly value: string } = vue.useConnectionState(client);
`;
const SERVER = `
import { createLog, loadConfig, startNode } from "starling-edge";
const { config } = loadConfig({ flags: {}, env: {}, configFile: undefined });
export const node = startNode(config, createLog({ level: "info", format: "json" }));
`;

/** How a project finds modules, with the file that it compiles: its name may say what kind of module it is. */
const RESOLUTIONS: [string, string, object][] = [
  ["node", "main.ts", { module: "commonjs", moduleResolution: "node10" }],
  ["node16, in an ES module", "main.mts", { module: "node16" }],
  ["node16, in CommonJS", "main.cts", { module: "node16" }],
  ["bundler", "main.ts", { module: "esnext", moduleResolution: "bundler" }],
];

let project = "";

/** As npm installs the packages: their built files and manifests, and the dependencies of starling-edge. */
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "starling-types-"));
  const target = join(project, "node_modules/starling-edge");
  mkdirSync(target, { recursive: true });
  cpSync(join(ROOT, "package.json"), join(target, "package.json"));
  cpSync(join(ROOT, "dist"), join(target, "dist"), { recursive: true });
  cpSync(join(ROOT, "packages/client"), join(project, "node_modules/starling-client"), { recursive: true });
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (!name.startsWith(".") && name !== "starling-client")
      symlinkSync(join(ROOT, "node_modules", name), join(project, "node_modules", name));
  }
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

function compile(tsc: string, source: string, options: object, file = "main.ts"): string {
  writeFileSync(join(project, file), source);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    target: "es2022",
    module: "nodenext",
    ...options,
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: [file] }));
  const { stdout } = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8" });
  return stdout;
}

describe.each(compilers)("TypeScript $version", ({ version, tsc }) => {
  const inPage = { lib: ["es2022", "dom"], types: [] };
  const isNodeDeprecated = Number.parseInt(version) >= 6;

  it.each(RESOLUTIONS)(
    "compiles starling-client by moduleResolution %s",
    { timeout: 120_000 },
    (_, file, options) => {
      const quiet = isNodeDeprecated ? { ignoreDeprecations: "6.0" } : {};
      const compilerOptions = { ...inPage, ...options, ...quiet };
      expect(compile(tsc, clientOf("starling-client"), compilerOptions, file)).toBe("");
      const wrong = `import { connect } from "starling-client"; connect(1);`;
      expect(compile(tsc, wrong, compilerOptions, file)).toMatch(/\/main\.\w+\(1,\d+\): error TS2345.*\n$/);
    },
  );

  it("knows the global of the classic script", { timeout: 120_000 }, () => {
    const bundler = { ...inPage, module: "esnext", moduleResolution: "bundler" };
    const source = (url: string): string =>
      `/// <reference types="starling-client" />\nStarling.connect(${url});`;
    expect(compile(tsc, source('"/"'), bundler)).toBe("");
    expect(compile(tsc, source("1"), bundler)).toMatch(/TS2345/);
  });

  it.each([
    ["the SDK in a page", BROWSER, { lib: ["es2022", "dom"], types: [] }],
    ["the SDK in Node, with the class of ws", WS, { lib: ["es2022"], types: ["node"] }],
    ["the hooks of React and the composables of Vue", HOOKS, { lib: ["es2022", "dom"], types: [] }],
    ["the server", SERVER, { lib: ["es2022"], types: ["node"] }],
  ])("compiles %s", { timeout: 120_000 }, (_, source, options) => {
    // zod 4 names NoInfer, which is TypeScript's from 5.4 on: before that the server needs skipLibCheck.
    // Vue's own types want about as new a one.
    const errors = compile(tsc, source, options)
      .replace(/^node_modules\/zod\/.*'NoInfer'\.\n/gm, "")
      .replace(version < "5.4" ? /^node_modules\/@vue\/.*\n(?: .*\n)*/gm : /$^/, "");
    expect(errors).toBe("");
  });

  it.skipIf(version < "5.2")("compiles what is ended by using", { timeout: 120_000 }, () => {
    const options = { lib: ["es2022", "dom", "esnext.disposable"], types: [] };
    expect(compile(tsc, DISPOSED, options)).toBe("");
  });

  it("is one that complains", { timeout: 120_000 }, () => {
    const wrong = `import { connect } from "starling-edge/client"; connect(1);`;
    expect(compile(tsc, wrong, { lib: ["es2022", "dom"], types: [] })).toMatch(/main\.ts.*TS2345/);
  });
});

it("is TypeScript 5.0 that is the oldest", () => {
  expect(compilers[0]!.version).toMatch(/^5\.0\./);
});
