/**
 * The native binaries of uWebSockets.js are those that uWebSockets.sha256 pins, or nothing is built.
 * `node scripts/uws-binaries.mjs --pin` writes that file anew from what is installed.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** In the form of sha256sum, so that any machine can check it: the Dockerfile does. */
const SUMS = fileURLToPath(new URL("uWebSockets.sha256", import.meta.url));
const PACKAGE = join(dirname(import.meta.dirname), "node_modules/uWebSockets.js");

/** @returns a Map of file name to sum */
export function pinned() {
  const text = readFileSync(SUMS, "utf8");
  return new Map([...text.matchAll(/^([0-9a-f]{64}) [ *](\S+)$/gm)].map(([, sum, file]) => [file, sum]));
}

const sumOf = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** @returns what is wrong with the binaries in `directory`, and what to do; undefined: they are the pinned ones */
export function checkBinaries({
  directory = PACKAGE,
  sums = pinned(),
  own = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`,
} = {}) {
  for (const [file, expected] of sums) {
    const path = join(directory, file);
    // The image keeps its own alone.
    if (!existsSync(path)) continue;
    const found = sumOf(path);
    if (found === expected) continue;
    return (
      `${path} is not the binary that this repository was tested with\n` +
      `  found    ${found}\n  expected ${expected}\n` +
      "Do not run it. `npm ci` installs the locked package again. If you changed the version of uWebSockets.js,\n" +
      "see docs/supply-chain.md, then pin it: node scripts/uws-binaries.mjs --pin"
    );
  }
  // Elsewhere the module may load too; nothing is promised there.
  if (own.startsWith("uws_linux_") && existsSync(join(directory, own)) && !sums.has(own)) {
    return (
      `${join(directory, own)} would load here (Node ${process.versions.node}) and is not pinned in scripts/uWebSockets.sha256\n` +
      `Use a version of Node that is: ${[...sums.keys()].join(", ")}`
    );
  }
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--pin")) {
    const text = readFileSync(SUMS, "utf8");
    const pin = (line, _, file) => `${sumOf(join(PACKAGE, file))}  ${file}`;
    writeFileSync(SUMS, text.replace(/^([0-9a-f]{64}) [ *](\S+)$/gm, pin));
  }
  const problem = checkBinaries();
  if (problem !== undefined) console.error(problem);
  process.exitCode = problem === undefined ? 0 : 1;
}
