/** The root that every run copies: Debian 13 by debootstrap, Node and npm from the registry. Made once. */

import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandExists, run, runApart } from "./run.mjs";
import { debianMirror } from "./settings.mjs";

export const platform = JSON.parse(readFileSync(new URL("platform.json", import.meta.url), "utf8"));

/** Raise it when what this file makes of platform.json changes. */
const RECIPE = 2;
const STAMP = ".starling-root";
/** What `node:24-trixie-slim` has beside the minimum. */
const INCLUDED = ["ca-certificates"];

/** @returns the directory of a whole root; what was interrupted never has that name */
export async function baseRoot(cache) {
  const wanted = createHash("sha256")
    .update(JSON.stringify([RECIPE, INCLUDED, process.arch, platform]))
    .digest("hex");
  const root = join(cache, `root-${wanted.slice(0, 16)}`);
  if (existsSync(join(root, STAMP)) && readFileSync(join(root, STAMP), "utf8") === wanted) return root;
  removeOthers(cache);
  rmSync(root, { recursive: true, force: true });

  const partial = mkdtempSync(join(cache, `making-${process.pid}-`));
  try {
    await bootstrap(partial);
    await addNode(partial);
    // mkdtemp keeps others out, and apt is another user for its downloads.
    chmodSync(partial, 0o755);
    writeFileSync(join(partial, STAMP), wanted);
    renameSync(partial, root);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    // Another run was faster.
    if (!["ENOTEMPTY", "EEXIST"].includes(error.code)) throw error;
  }
  return root;
}

/** Roots of earlier recipes: half a gigabyte each. */
function removeOthers(cache) {
  for (const name of readdirSync(cache)) {
    if (name.startsWith("root-")) rmSync(join(cache, name), { recursive: true, force: true });
  }
}

async function bootstrap(root) {
  if (!commandExists("debootstrap")) {
    if (!commandExists("apt-get")) throw new Error("debootstrap is missing: install it");
    await run("apt-get", ["update", "-qq"]);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "debootstrap"], { env });
  }
  const mirror = debianMirror();
  const target = [platform.debian, root, ...(mirror === undefined ? [] : [mirror])];
  // It mounts, and unmounts only if it may end by itself.
  await runApart("debootstrap", ["--variant=minbase", `--include=${INCLUDED.join(",")}`, ...target]);
  rmSync(join(root, "var/cache/apt/archives"), { recursive: true, force: true });
  mkdirSync(join(root, "var/cache/apt/archives/partial"), { recursive: true });
  // Packages of servers would start them.
  writeFileSync(join(root, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n", { mode: 0o755 });
}

async function addNode(root) {
  const { node, npm } = platform;
  const build = node.packages[process.arch];
  if (build === undefined) throw new Error(`platform.json has no Node for ${process.arch}`);
  const local = join(root, "usr/local");
  await unpack({ ...build, version: node.version }, (from) => {
    for (const part of ["bin", "include"]) cpSync(join(from, part), join(local, part), { recursive: true });
  });
  await unpack({ name: "npm", ...npm }, (from) => {
    cpSync(from, join(local, "lib/node_modules/npm"), { recursive: true });
  });
  for (const name of ["npm", "npx"]) {
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, "bin", name));
  }
}

/** Downloads a package as npm is set up to, and uses it only if it is the one that is pinned. */
async function unpack({ name, version, integrity }, use) {
  const directory = mkdtempSync(join(tmpdir(), "starling-package-"));
  try {
    await run("npm", ["pack", "--silent", "--pack-destination", directory, `${name}@${version}`]);
    const [file] = readdirSync(directory);
    const archive = join(directory, file);
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== integrity) {
      throw new Error(`${name}@${version} is ${found}, platform.json expects ${integrity}: do not use it`);
    }
    await run("tar", ["-xzf", archive, "-C", directory]);
    use(join(directory, "package"));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
