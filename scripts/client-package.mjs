/**
 * Makes what starling-client publishes, in packages/client/, of src/client/: ES modules, CommonJS and a classic script with
 * source maps, and the declarations for both kinds of modules. An entry point is a line of `exports` in
 * packages/client/package.json and a file of that name in src/client/.
 */

import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const PACKAGE = "packages/client";
const DIST = join(PACKAGE, "dist");
const SOURCES = { msgpack: "codec-msgpack" };

/** @returns name of each entry point to its path below src/, without the extension */
function entriesOf(manifest) {
  const names = Object.entries(manifest.exports).flatMap(([path, target]) =>
    typeof target === "string" ? [] : [path === "." ? "index" : path.slice(2)],
  );
  return new Map(names.map((name) => [name, `client/${SOURCES[name] ?? name}`]));
}

/** Needs dist/, compiled. */
export async function buildClientPackage() {
  const { build } = await import("esbuild");
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const entries = entriesOf(manifest);
  const esm = join(DIST, "esm");
  const cjs = join(DIST, "cjs");
  removeBuilt();
  const common = { target: "es2020", platform: "browser", logLevel: "warning" };
  // Small, with names and lines that a stack trace can say something by.
  const readable = { minifyWhitespace: true, minifySyntax: true, lineLimit: 120, sourcemap: true };

  // Another's code, without its sources: they would be half of the package.
  for (const [format, outdir] of [
    ["esm", esm],
    ["cjs", cjs],
  ]) {
    await build({
      ...common,
      // Its generated code would need unsafe-eval, which pages forbid by policy and React Native does not have.
      stdin: { contents: 'export { Packr } from "msgpackr/index-no-eval";', resolveDir: "." },
      outfile: join(outdir, "msgpackr.js"),
      bundle: true,
      format,
      minify: true,
    });
  }
  copyFileSync("node_modules/msgpackr/LICENSE", join(DIST, "msgpackr.LICENSE"));
  await build({
    ...common,
    entryPoints: Object.fromEntries([...entries].map(([name, source]) => [name, `src/${source}.ts`])),
    outdir: esm,
    bundle: true,
    format: "esm",
    // What several entries use is one module, so that its classes are the same in all of them.
    splitting: true,
    chunkNames: "shared-[hash]",
    plugins: [besideIt("msgpackr")],
    external: Object.keys(manifest.peerDependencies ?? {}),
    ...readable,
  });
  await build({
    ...common,
    entryPoints: readdirSync(esm)
      .filter((file) => file.endsWith(".js") && file !== "msgpackr.js")
      .map((file) => join(esm, file)),
    outdir: cjs,
    format: "cjs",
    // Names the exports so that `import` of a CommonJS module finds them.
    platform: "node",
    ...readable,
  });
  writeFileSync(join(cjs, "package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
  await build({
    ...common,
    entryPoints: ["src/client/index.ts"],
    outfile: join(DIST, "starling.js"),
    bundle: true,
    format: "iife",
    globalName: "Starling",
    minify: true,
    sourcemap: true,
  });
  for (const directory of [DIST, esm, cjs]) shareSources(directory);
  for (const directory of [esm, cjs]) writeDeclarations(directory, entries);
  writeOldEntries(entries);
}

function besideIt(name) {
  const path = `./${name}.js`;
  const setup = ({ onResolve }) =>
    onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path, external: true }));
  return { name: `${name} is a file beside it`, setup };
}

function removeBuilt() {
  for (const entry of readdirSync(PACKAGE, { withFileTypes: true })) {
    const isBuilt = entry.isDirectory() && entry.name !== "node_modules";
    if (isBuilt) rmSync(join(PACKAGE, entry.name), { recursive: true });
  }
}

/** The maps name the sources, which lie in the package once, instead of having a copy each. */
function shareSources(directory) {
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".js.map"))) {
    const path = join(directory, file);
    const map = JSON.parse(readFileSync(path, "utf8"));
    delete map.sourcesContent;
    map.sources = map.sources.map((source) => {
      const original = relative("", join(directory, source));
      if (!original.startsWith("src/")) return source;
      const target = join(PACKAGE, original);
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(original, target);
      return relative(directory, target);
    });
    writeFileSync(path, JSON.stringify(map));
  }
}

/** The compiler's, with all that they import: in one folder whose modules are of one kind, their paths fit. */
function writeDeclarations(directory, entries) {
  const found = new Set();
  const add = (path) => {
    if (found.has(path)) return;
    found.add(path);
    const text = readFileSync(path, "utf8");
    for (const [, imported] of text.matchAll(/(?:from |import\()"(\.[^"]+)\.js"/g)) {
      add(join(dirname(path), `${imported}.d.ts`));
    }
    const target = join(directory, "types", relative("dist", path));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(path, target);
  };
  for (const [name, source] of entries) {
    add(`dist/${source}.d.ts`);
    // The classic script's global has these types.
    const global = name === "index" ? "export as namespace Starling;\n" : "";
    writeFileSync(join(directory, `${name}.d.ts`), `export * from "./types/${source}.js";\n${global}`);
  }
}

/** For what does not read `exports`: TypeScript's moduleResolution node, older Metro and Jest, webpack 4. */
function writeOldEntries(entries) {
  for (const name of entries.keys()) {
    if (name === "index") continue;
    mkdirSync(join(PACKAGE, name));
    const manifest = {
      main: `../dist/cjs/${name}.js`,
      module: `../dist/esm/${name}.js`,
      types: `../dist/cjs/${name}.d.ts`,
    };
    writeFileSync(join(PACKAGE, name, "package.json"), `${JSON.stringify(manifest)}\n`);
  }
}
