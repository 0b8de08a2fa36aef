// `npm run test:debian13`: `npm ci` and `npm test` of the last commit on Debian 13 with Node 24, the reference
// platform, in a root of its own on this machine. Arguments go to vitest. Needs Linux, root rights, git and npm;
// debootstrap is installed where apt-get can. The root and what was downloaded stay in /var/cache/starling-edge,
// or where STARLING_DEBIAN13_CACHE says; each run works in a copy of the root, and removes it.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { baseRoot, platform } from "./debian13/root.mjs";
import { endAll, run, runApart } from "./debian13/run.mjs";
import { environment, handOn } from "./debian13/settings.mjs";

const checkout = dirname(import.meta.dirname);
const cache = resolve(process.env["STARLING_DEBIAN13_CACHE"] ?? "/var/cache/starling-edge");
const say = (text) => void process.stderr.write(`debian13: ${text}\n`);

let copy;
let signalled;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    signalled = 128 + constants.signals[signal];
    endAll();
  });
}

try {
  if (process.platform !== "linux" || process.getuid() !== 0) {
    throw new Error("a root is made and entered by Linux's user root only: run it with sudo");
  }
  mkdirSync(cache, { recursive: true, mode: 0o755 });
  removeAbandoned();
  const base = await timed(`root of Debian ${platform.debian}`, () => baseRoot(cache));
  copy = mkdtempSync(join(cache, `run-${process.pid}-`));
  await timed("its copy, with the last commit", async () => {
    await run("cp", ["-a", "--reflink=auto", `${base}/.`, copy]);
    handOn(copy, platform.debian);
    await clone(join(copy, "starling"));
  });
  const inside = join(import.meta.dirname, "debian13/inside.sh");
  const args = [inside, copy, join(cache, "downloads"), ...process.argv.slice(2)];
  await timed("npm ci and npm test", () => runApart("sh", args, { env: environment(), stdout: 1 }));
} catch (error) {
  say(signalled === undefined ? error.message : "ended by a signal");
  process.exitCode = signalled ?? (error.code > 0 ? error.code : 1);
} finally {
  remove(copy);
}

async function clone(target) {
  const changed = spawnSync("git", ["-C", checkout, "status", "--porcelain"], { encoding: "utf8" }).stdout;
  if (changed !== "") say("what is not committed is not tested");
  await run("git", ["clone", "--quiet", "--no-hardlinks", checkout, target]);
}

async function timed(what, work) {
  const startedAt = performance.now();
  try {
    return await work();
  } finally {
    say(`${what}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  }
}

/** Copies and half made roots of runs that were killed; a process of a later run may have the number of one. */
function removeAbandoned() {
  for (const name of readdirSync(cache)) {
    const [, pid] = /^(?:run|making)-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) remove(join(cache, name));
  }
}

function remove(root) {
  if (root === undefined) return;
  // Mounts are in another namespace. Were one here, rm would empty what is mounted, /dev for one.
  if (readFileSync("/proc/self/mounts", "utf8").includes(` ${root}/`)) {
    throw new Error(`something is mounted in ${root}: unmount it, then remove it`);
  }
  // The processes of a namespace that was killed end a moment after it.
  rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
