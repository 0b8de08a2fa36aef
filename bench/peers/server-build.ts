import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "./installed.js";

/** Within node_modules, so that what is built finds its packages. */
const FOLDER = join(ROOT, "node_modules/.cache/starling-bench");
let count = 0;

/**
 * Turns a server of bench/peers/servers into plain JavaScript. A TypeScript loader within its process would use
 * memory and CPU that Starling, measured from dist/, does not.
 */
export async function buildServer(name: string): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = join(FOLDER, `${process.pid}-${++count}-${name}.mjs`);
  await mkdir(FOLDER, { recursive: true });
  await build({
    entryPoints: [join(ROOT, `bench/peers/servers/${name}.ts`)],
    outfile: path,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "silent",
  });
  return { path, remove: () => rm(path, { force: true }) };
}
