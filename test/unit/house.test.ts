/** The house as CONTRIBUTING.md draws it: no file of src/ depends on itself, in a circle, not even for types. */

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";

const IMPORT = /(?:import|export)[^;"]*?from\s*"(\.[^"]+)"/g;

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

function importsOf(file: string): string[] {
  const found = readFileSync(file, "utf8").matchAll(IMPORT);
  return [...found].map(([, path]) => normalize(join(dirname(file), path!.replace(/\.js$/, ".ts"))));
}

/** Files that import nothing that is left, or are imported by nothing that is left, are in no circle: taken away in turn. */
function inCircles(files: readonly string[], imports: (file: string) => readonly string[]): string[] {
  const left = new Map(files.map((file) => [file, imports(file)]));
  for (;;) {
    const imported = new Set([...left.values()].flat());
    const free = [...left].filter(
      ([file, needed]) => !imported.has(file) || !needed.some((other) => left.has(other)),
    );
    if (free.length === 0) return [...left.keys()];
    for (const [file] of free) left.delete(file);
  }
}

it("has no circle of imports, types included", () => {
  const files = sources("src").filter((file) => !file.startsWith(join("src", "demo")));
  expect(files.length).toBeGreaterThan(150);
  expect(inCircles(files, importsOf)).toEqual([]);
});

it("would be seen to have one", () => {
  const imports: Record<string, string[]> = { a: ["b"], b: ["c"], c: ["b"], d: [] };
  expect(inCircles(Object.keys(imports), (file) => imports[file]!)).toEqual(["b", "c"]);
});
