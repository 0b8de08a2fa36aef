// Builds dist/: the compiled server and SDK, the SDK's browser build, Lua scripts, the demo page. Of the SDK it makes
// packages/client/dist/, which is what starling-client publishes.
// Runs as `prepare` in `npm ci`, so it must do without network, terminal and install scripts.
// --force builds although nothing changed.

import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { buildClientPackage } from "./client-package.mjs";
import { checkBinaries } from "./uws-binaries.mjs";

const root = dirname(import.meta.dirname);
process.chdir(root);
const require = createRequire(import.meta.url);

const STAMP = "dist/.build-stamp";
/** What the SDK may weigh in a page, gzipped, without MessagePack: 14 kB come in TCP's first ten segments. */
const BROWSER_LIMIT_BYTES = 14_000;
const COPIED = [".lua"];

const startedAt = performance.now();

const problem = checkBinaries();
if (problem !== undefined) fail(problem);

if (!isInstalled("typescript") || !isInstalled("esbuild")) {
  // `npm ci --omit=dev` of a checkout runs this too.
  const state = existsSync("dist/cli.js") ? "the dist/ that is here is kept" : "dist/ is missing";
  console.log(`build: skipped, development dependencies are not installed; ${state}`);
  process.exit(0);
}

const fingerprint = fingerprintOf([
  "src",
  "scripts/build.mjs",
  "scripts/client-package.mjs",
  "scripts/uws-binaries.mjs",
  "package.json",
  "packages/client/package.json",
  "package-lock.json",
  "tsconfig.json",
]);
const isWhole = existsSync(STAMP) && existsSync("packages/client/dist");
if (!process.argv.includes("--force") && isWhole && readFileSync(STAMP, "utf8") === fingerprint) {
  console.log("build: dist/ is up to date");
  process.exit(0);
}
rmSync(STAMP, { force: true });

compile();
removeStale();
copyAssets();
await bundle();
await buildClientPackage();
if (existsSync("dist/cli.js")) chmodSync("dist/cli.js", 0o755);
writeFileSync(STAMP, fingerprint);
console.log(`build: dist/ is built, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);

function isInstalled(name) {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch (error) {
    if (error.code === "MODULE_NOT_FOUND") return false;
    throw error;
  }
}

function compile() {
  const tsc = join(dirname(require.resolve("typescript/package.json")), "bin/tsc");
  const args = [
    tsc,
    "-p",
    "tsconfig.json",
    "--noEmitOnError",
    "--incremental",
    "--tsBuildInfoFile",
    "dist/.tsbuildinfo",
  ];
  const { status, error } = spawnSync(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (error !== undefined) throw error;
  if (status !== 0) fail("the compiler found errors, see above");
}

/** Output of sources that are gone: it would still be packed and could still be imported. */
function removeStale() {
  for (const path of filesUnder("dist")) {
    if (COPIED.includes(extname(path)) && !existsSync(join("src", relative("dist", path)))) rmSync(path);
    const output = /^dist\/(.*?)(\.d\.ts|\.js|\.js\.map)$/.exec(path);
    if (output === null || /^(browser|demo)\//.test(output[1])) continue;
    if (!existsSync(`src/${output[1]}.ts`)) rmSync(path);
  }
}

function copyAssets() {
  for (const path of filesUnder("src")) {
    if (!COPIED.includes(extname(path))) continue;
    const target = join("dist", relative("src", path));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(path, target);
  }
  rmSync("dist/demo", { recursive: true, force: true });
  if (!existsSync("src/demo")) return;
  // Its scripts are bundled instead.
  cpSync("src/demo", "dist/demo", { recursive: true, filter: (path) => extname(path) !== ".ts" });
  const pusherJs = dirname(require.resolve("pusher-js/package.json"));
  cpSync(join(pusherJs, "dist/web/pusher.min.js"), "dist/demo/pusher/pusher.min.js");
  // Under the name by which the script refers to it, and whole: theirs is an excerpt.
  cpSync(join(pusherJs, "LICENCE"), "dist/demo/pusher/pusher.min.js.LICENSE.txt");
}

async function bundle() {
  const { build } = await import("esbuild");
  const entries = {
    starling: "src/client/index.ts",
    // Brings msgpackr: only for pages that ask for MessagePack.
    "starling-msgpack": "src/client/codec-msgpack.ts",
  };
  for (const [name, entry] of Object.entries(entries)) {
    if (!existsSync(entry)) continue;
    const outfile = `dist/browser/${name}.js`;
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      format: "esm",
      platform: "browser",
      target: "es2020",
      minify: true,
      sourcemap: true,
      // Where msgpackr is generated code it needs unsafe-eval, which pages forbid by policy.
      ...(name === "starling-msgpack" ? { alias: { msgpackr: "msgpackr/index-no-eval" } } : {}),
      logLevel: "warning",
    });
    const bytes = readFileSync(outfile);
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    console.log(`build: ${outfile} ${bytes.length} bytes, ${gzipped} gzipped`);
    if (name === "starling" && gzipped > BROWSER_LIMIT_BYTES) {
      fail(
        `${outfile} is ${gzipped} bytes gzipped, the limit is ${BROWSER_LIMIT_BYTES}: ` +
          "give what not every page needs an entry of its own, as starling-msgpack.js has",
      );
    }
  }
  if (!existsSync("src/demo/demo.ts")) return;
  await build({
    entryPoints: ["src/demo/demo.ts", "src/demo/pusher/demo.ts"],
    outdir: "dist/demo",
    outbase: "src/demo",
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    // The page loads the SDK as any other page would: from where the node serves it.
    alias: { "starling-edge/client": "/starling.js" },
    external: ["/starling.js"],
    logLevel: "warning",
  });
}

function fingerprintOf(paths) {
  const hash = createHash("sha256").update(process.version);
  for (const path of paths
    .flatMap((path) => (statSync(path).isDirectory() ? filesUnder(path) : [path]))
    .sort()) {
    hash.update(`${path}\0`).update(readFileSync(path)).update("\0");
  }
  return hash.digest("hex");
}

function filesUnder(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function fail(message) {
  console.error(`build: ${message}`);
  process.exit(1);
}
