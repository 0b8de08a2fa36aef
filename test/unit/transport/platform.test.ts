import { describe, expect, it } from "vitest";
import { describePlatform, oldBinary, thisPlatform, type Platform } from "../../../src/transport/platform.js";

const debian13: Platform = { node: "24.21.0", abi: 137, system: "linux", arch: "x64", glibc: "2.41" };
const current: Partial<Platform>[] = [
  {},
  { glibc: "2.38" },
  { glibc: "3.0" },
  { node: "22.20.0", abi: 127 },
  { system: "darwin", arch: "arm64", glibc: undefined },
];
const old: Partial<Platform>[] = [
  { node: "20.20.2", abi: 115 },
  { node: "20.20.2", abi: 115, glibc: "2.36" },
  { node: "20.20.2", abi: 115, system: "darwin", glibc: undefined },
  { glibc: "2.37" },
  { glibc: "2.4" },
];

describe("the binary of uWebSockets.js", () => {
  it.each(current)("is well on Debian 13 but for %j", (change) => {
    expect(oldBinary({ ...debian13, ...change })).toBeUndefined();
  });

  it.each(old)(
    "is old on Debian 13 but for %j: one line says why, what to do and what was found",
    (change) => {
      const platform = { ...debian13, ...change };
      const warning = oldBinary(platform)!;
      expect(warning).toMatch(/refused with 505.*Run Node 24 with glibc 2\.38 or later/);
      expect(warning.endsWith(`found: ${describePlatform(platform)}`)).toBe(true);
      expect(warning).not.toContain("\n");
    },
  );

  it("is looked for where this process runs", () => {
    const { node, abi, glibc } = thisPlatform();
    expect([node, `${abi}`]).toEqual([process.versions.node, process.versions.modules]);
    // The tests run on Debian.
    expect(glibc).toMatch(/^\d+\.\d+/);
  });
});
