/** starling-client as a user has it: packed, installed in an empty project, in front of a real node. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const RELEASE = fileURLToPath(new URL("../../scripts/release.mjs", import.meta.url));

/** vitest's own time-out cannot end it: it waits in one call. */
const RELEASE_MS = 110_000;

function release(...args: string[]) {
  const options = { encoding: "utf8", timeout: RELEASE_MS } as const;
  return spawnSync(process.execPath, [RELEASE, "--quick", ...args], options);
}

it("publishes and receives as ES module, CommonJS and classic script", { timeout: 120_000 }, () => {
  const out = mkdtempSync(join(tmpdir(), "starling-packed-"));
  onTestFinished(() => rmSync(out, { recursive: true, force: true }));
  const { stdout, stderr, status } = release("--out", out);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/starling-client by npm: ran as ES module, CommonJS and script, \d+ kB installed/);
  expect(stdout).toMatch(/all ran\n$/);
  expect(status).toBe(0);
  expect(readdirSync(out)).toEqual([expect.stringMatching(/^starling-client-\d+\.\d+\.\d+\.tgz$/)]);
});

it("is not released under a tag of another version", () => {
  const { stdout, stderr, status } = release("--tag", "v999.0.0");
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^release: the tag is v999\.0\.0 and the packages are \d+\.\d+\.\d+: tag v/);
});
