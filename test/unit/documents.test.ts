/** Links of the documents lead to files and headings that are there. */

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";

const root = new URL("../../", import.meta.url);
const folders = [
  "",
  "docs/",
  "packages/client/",
  ...readdirSync(new URL("examples/", root)).map((name) => `examples/${name}/`),
];
const paths = folders.flatMap((folder) =>
  readdirSync(new URL(folder, root))
    .filter((name) => name.endsWith(".md"))
    .map((name) => folder + name),
);

/** What is code has no headings and no links. */
const textOf = (url: URL): string => readFileSync(url, "utf8").replace(/^```.*?^```/gms, "");

/** As GitHub makes them. */
function anchorsOf(url: URL): Set<string> {
  const anchors = new Set<string>();
  for (const [, title] of textOf(url).matchAll(/^#+ (.*)$/gm)) {
    const anchor = title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-");
    let unique = anchor;
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${n}`;
    anchors.add(unique);
  }
  return anchors;
}

it.each(paths)("%s", (path) => {
  const here = new URL(path, root);
  const broken: string[] = [];
  for (const [, link] of textOf(here).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link!)) continue;
    const target = new URL(link!, here);
    const anchor = decodeURIComponent(target.hash.slice(1));
    target.hash = "";
    if (!existsSync(target) || (anchor !== "" && !anchorsOf(target).has(anchor))) broken.push(link!);
  }
  expect(broken).toEqual([]);
});

it("are found", () => {
  expect(paths.length).toBeGreaterThan(15);
});
