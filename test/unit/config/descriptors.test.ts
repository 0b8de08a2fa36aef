import { describe, expect, it } from "vitest";
import { openFileLimit, reservedFiles, socketLimits } from "../../../src/config/descriptors.js";

describe("a process's file descriptors", () => {
  it.each([
    [200, 100, { clients: 125, api: 25 }],
    [1024, 768, { clients: 832, api: 64 }],
    // Set higher than the limit allows.
    [1024, 10_000, { clients: 832, api: 64 }],
    [1_048_576, 100_000, { clients: 574_224, api: 474_224 }],
  ])("of %i files, with %i connections, are divided", (fileLimit, maxConnections, expected) => {
    const limits = socketLimits(maxConnections, fileLimit);
    expect(limits).toEqual(expected);
    expect(limits.clients + limits.api + reservedFiles(fileLimit) / 2).toBeLessThanOrEqual(fileLimit);
  });

  it("are not limited where the system tells no limit", () => {
    expect(socketLimits(10, undefined)).toEqual({ clients: Infinity, api: Infinity });
  });

  it("are read from the system", () => {
    expect(openFileLimit()).toBeGreaterThan(0);
  });
});
