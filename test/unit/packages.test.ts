/** starling-edge and starling-client as they are published: one version, what they are made of, what they are called. */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CLIENT = join(ROOT, "packages/client");

interface Manifest {
  readonly version: string;
  readonly main: string;
  readonly module: string;
  readonly types: string;
  readonly unpkg: string;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const manifest = (path: string): Manifest => JSON.parse(read(path)) as Manifest;

/** What npm would publish of a package, by its own word. */
function packed(...args: string[]): { files: string[]; unpackedBytes: number } {
  const command = ["pack", "--dry-run", "--json", "--ignore-scripts", ...args];
  const { stdout, stderr, status } = spawnSync("npm", command, { cwd: ROOT, encoding: "utf8" });
  expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
  const report = JSON.parse(stdout) as Record<string, { files: { path: string }[]; unpackedSize: number }>;
  const [one] = Object.values(report);
  return { files: one!.files.map(({ path }) => path), unpackedBytes: one!.unpackedSize };
}

it("have one version, which the changelog has", () => {
  const { version } = manifest("package.json");
  expect(manifest("packages/client/package.json").version).toBe(version);
  expect(read("CHANGELOG.md")).toContain(`\n## ${version}`);
});

describe("starling-client", () => {
  const client = manifest("packages/client/package.json");

  it("depends on nothing and runs nothing when it is installed", () => {
    expect(Object.keys(client).filter((key) => /dependencies$/i.test(key))).toEqual(
      "peerDependencies" in client ? ["peerDependencies"] : [],
    );
    expect(read("packages/client/package.json")).not.toMatch(/"(pre|post)?install"|"prepare"/);
  });

  it("has every file that it names, the maps of its code and the sources that these name", () => {
    const entries = Object.values(client.exports).flatMap((target) =>
      typeof target === "string" ? [target] : Object.values(target),
    );
    const named = [...entries, client.main, client.module, client.types, client.unpkg];
    const { files } = packed("--workspace", "starling-client");
    const all = new Set(files);
    expect(named.map((path) => path.slice(2)).filter((path) => !all.has(path))).toEqual([]);
    const code = entries.concat(client.unpkg).filter((path) => path.endsWith(".js"));
    expect(code.length).toBeGreaterThanOrEqual(5);
    expect(code.map((path) => `${path.slice(2)}.map`).filter((path) => !all.has(path))).toEqual([]);
    // Those of shared files too.
    const maps = files.filter((path) => path.endsWith(".js.map"));
    const allSources = new Set<string>();
    for (const path of maps) {
      const map = join(CLIENT, path);
      const { sources } = JSON.parse(readFileSync(map, "utf8")) as { sources: string[] };
      for (const source of sources) {
        const target = join(map, "..", source);
        allSources.add(target);
        expect([path, source, existsSync(target)]).toEqual([path, source, true]);
        expect(target.startsWith(CLIENT)).toBe(true);
      }
    }
    // Not of each: an entry may only export what shared files have.
    expect(allSources.size).toBeGreaterThanOrEqual(5);
    for (const path of entries.filter((entry) => entry.endsWith(".js")))
      expect(all).toContain(path.slice(2).replace(/\.js$/, ".d.ts"));
  });

  it("is less than a megabyte, with a license, and of its repository nothing else", () => {
    const { files, unpackedBytes } = packed("--workspace", "starling-client");
    expect(unpackedBytes).toBeLessThan(1_000_000);
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "dist/msgpackr.LICENSE"]));
    expect(files.filter((path) => !/^(dist|src)\/|^\w+\/package\.json$|^[^/]+$/.test(path))).toEqual([]);
    expect(read("packages/client/LICENSE")).toBe(read("LICENSE"));
  });
});

describe("starling-edge", () => {
  it("is what is built and its documents: neither sources nor the other package", () => {
    const { files } = packed();
    expect(files).toEqual(
      expect.arrayContaining([
        ...["dist/cli.js", "dist/index.d.ts", "README.md", "PROTOCOL.md", "CHANGELOG.md"],
        // `starling cluster` reads it.
        "envoy.yaml",
        // Others' code goes with its licence.
        ...["dist/demo/pusher/pusher.min.js", "dist/demo/pusher/pusher.min.js.LICENSE.txt"],
      ]),
    );
    expect(files.filter((path) => !/^dist\/|^[^/]+$/.test(path))).toEqual([]);
  });

  it("is what users are told to run: npx's `starling` is another's package", () => {
    const args = ["grep", "-nE", "npx (--[a-z]+ )*starling([^-]|$)"];
    const { status, stdout, stderr } = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
    // 1: no line matches. Above: it could not look.
    expect([status, stdout, stderr]).toEqual([1, "", ""]);
  });

  it("locks packages by their sums and names no host to load them from", () => {
    const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, { resolved?: string }> };
    const resolved = Object.values(lock.packages).flatMap((entry) => entry.resolved ?? []);
    expect(resolved).toEqual(["packages/client"]);
  });
});
