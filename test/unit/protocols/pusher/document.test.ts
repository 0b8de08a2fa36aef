/** docs/pusher.md and the code say the same of limits, close codes and paths. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CLOSE_REASONS, type CloseReason } from "../../../../src/core/closing.js";
import { optionNames } from "../../../../src/config/options.js";
import { REJECT_REASONS } from "../../../../src/core/rejects.js";
import {
  BAD_PATH,
  BAD_VERSION,
  UNSUPPORTED_PROTOCOL,
  closeCodeOf,
  refusalCodeOf,
} from "../../../../src/protocols/pusher/close-codes.js";
import { PUSHER_DEFAULTS } from "../../../../src/protocols/pusher/settings.js";

const root = new URL("../../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const document = read("docs/pusher.md");

/** The cells of each row of the tables below a heading, up to the next of that level. */
function rowsBelow(heading: string): string[][] {
  const start = document.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`docs/pusher.md has no heading ${heading}`);
  const level = /^#+/.exec(heading)![0];
  const rest = document.slice(start + heading.length + 1);
  const end = rest.search(new RegExp(`^#{2,${level.length}} `, "m"));
  const rows = (end === -1 ? rest : rest.slice(0, end)).split("\n").filter((line) => line.startsWith("|"));
  return rows.map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

it("has every setting with its default", () => {
  const rows = rowsBelow("## Limits").filter(([cell]) => cell!.startsWith("`"));
  const told = Object.fromEntries(rows.map(([name, value]) => [name!.replaceAll("`", ""), value]));
  const own = Object.entries(PUSHER_DEFAULTS).map(([name, value]) => [name, String(value)]);
  expect(told).toEqual(Object.fromEntries(own));
});

it("has every code by which a connection is closed, and no other", () => {
  const told = rowsBelow("## Close codes").flatMap(([code]) => (/^\d+$/.test(code!) ? [Number(code)] : []));
  const reasons = Object.keys(CLOSE_REASONS) as CloseReason[];
  const own = new Set([
    // No close frame came.
    1006,
    ...reasons.map(closeCodeOf),
    ...REJECT_REASONS.map(refusalCodeOf),
    BAD_PATH,
    BAD_VERSION,
    UNSUPPORTED_PROTOCOL,
  ]);
  expect(told).toEqual([...own].sort((a, b) => a - b));
});

describe("what is to be set in place of another server's settings", () => {
  const rows = ["### Pusher", "### Soketi", "### Laravel Reverb"].flatMap(rowsBelow);

  it("is options, settings of an app and of Pusher that there are", () => {
    const named = rows.flatMap(([, ours]) =>
      [...ours!.matchAll(/`(?:pusher\.)?([a-z]\w+)\b[^`]*`/g)].map(([, name]) => name!),
    );
    const known: readonly string[] = [
      ...optionNames,
      ...Object.keys(PUSHER_DEFAULTS),
      "enabled",
      "keys",
      "https",
    ];
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
  });

  it("is variables of the environment that there are", () => {
    const named = rows.flatMap(([, , env]) => [...env!.matchAll(/STARLING_(\w+)/g)].map(([, name]) => name!));
    const known = optionNames.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase());
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((name) => !known.includes(name.replace(/^APPS_FILE$/, "APPS")))).toEqual([]);
  });
});
