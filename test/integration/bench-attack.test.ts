import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);
const bench = (...args: string[]): Promise<{ stdout: string }> =>
  run(process.execPath, ["--import", "tsx", "bench/attack.ts", ...args]);

it("tells what an attack cost the node and its neighbour", async () => {
  const { stdout } = await bench("--seconds", "1", "--only", "commands");
  const cells = stdout
    .split("\n")
    .find((line) => line.startsWith("| commands |"))!
    .split("|")
    .map((cell) => cell.trim());
  const [, , cpu, before, under, , admitted, , , done] = cells as [string, string, ...string[]];
  expect(parseInt(cpu!, 10)).toBeGreaterThan(0);
  expect(Number(before)).toBeGreaterThan(0);
  expect(under).toMatch(/^[\d.]+ \([\d.]+ x\)$/);
  expect(admitted).toMatch(/^\d+ %$/);
  expect(Number(done!.split(" / ")[0])).toBeGreaterThan(0);
}, 300_000);

it("names the attacks that it knows where one is not known", async () => {
  await expect(bench("--only", "ping flood")).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--only is ping flood: known are empty frames") as string,
  });
});
