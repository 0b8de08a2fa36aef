/** Built packages of other versions, for fleets of two. */

import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
/** Under node_modules, where the packages are found that a build imports. */
const CACHE = join(ROOT, "node_modules/.cache/starling-builds");
const FORMAT_FILE = "redis/link/fleet-format.js";

/**
 * Builds a commit of this repository, where that was not done before, with the packages that are installed here.
 * @returns directory of the built package
 * @throws Error saying why it cannot be had
 */
export function buildOf(commit: string, print: (line: string) => void): string {
  const id = idOf(commit);
  const target = join(CACHE, id);
  const dist = join(target, "dist");
  if (existsSync(dist)) return dist;
  if (git("show", `${id}:package-lock.json`) !== readFileSync(join(ROOT, "package-lock.json"), "utf8")) {
    throw new Error(
      `commit ${commit} has other dependencies: build it in a checkout of its own and name its dist/`,
    );
  }
  print(`building ${commit} (${id.slice(0, 10)})`);
  // Not under node_modules: the compiler emits nothing there.
  const checkout = mkdtempSync(join(tmpdir(), "starling-build-"));
  try {
    const archive = join(checkout, "archive.tar");
    git("archive", "--format=tar", `--output=${archive}`, id);
    run("tar", ["-xf", archive, "-C", checkout], checkout);
    symlinkSync(join(ROOT, "node_modules"), join(checkout, "node_modules"));
    run(process.execPath, ["scripts/build.mjs"], checkout);
    install(join(checkout, "dist"), target);
  } finally {
    rmSync(checkout, { recursive: true, force: true });
  }
  return dist;
}

/**
 * A copy of a build whose nodes say that they read the format before: what a fleet of two versions does is then seen
 * without the other version.
 * @returns directory of the built package, until it is removed
 */
export function buildOfFormatBefore(dist: string): { readonly dist: string; remove(): void } {
  mkdirSync(CACHE, { recursive: true });
  const target = mkdtempSync(join(CACHE, "format-before-"));
  install(dist, join(target, "package"));
  const copy = join(target, "package/dist");
  const file = join(copy, FORMAT_FILE);
  const code = readFileSync(file, "utf8");
  const [, before] = /^export const FORMAT_BEFORE = (\d+);$/m.exec(code) ?? [];
  const altered = code.replace(/^export const FORMAT = \d+;$/m, `export const FORMAT = ${before};`);
  if (before === undefined || altered === code) throw new Error(`${file} does not say which format is read`);
  writeFileSync(file, altered);
  return { dist: copy, remove: () => rmSync(target, { recursive: true, force: true }) };
}

/** Whole or not at all: another run may be at it. */
function install(dist: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true });
  const partial = mkdtempSync(`${target}-`);
  cpSync(dist, join(partial, "dist"), { recursive: true });
  // A node reads its version there.
  cpSync(join(dirname(dist), "package.json"), join(partial, "package.json"));
  try {
    renameSync(partial, target);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
}

function idOf(commit: string): string {
  try {
    return git("rev-parse", "--verify", "--quiet", `${commit}^{commit}`).trim();
  } catch (error) {
    const message = `there is no commit ${commit} here: fetch the history, or name a built package`;
    throw new Error(message, { cause: error });
  }
}

function git(...args: string[]): string {
  return run("git", args, ROOT);
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  if (status === 0) return stdout;
  throw new Error(
    `${command} ${args.join(" ")} ended by ${status}: ${(stdout + stderr).trim().slice(-2_000)}`,
  );
}
