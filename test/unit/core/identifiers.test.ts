import { describe, expect, it } from "vitest";
import { connectionIds, nodeOfConnection, randomSecret } from "../../../src/core/identifiers.js";

describe("identifiers", () => {
  it("makes connection ids that differ and name their node", () => {
    const next = connectionIds("n-1");
    const ids = Array.from({ length: 5000 }, next);
    expect(new Set(ids).size).toBe(5000);
    for (const id of ids) expect(nodeOfConnection(id)).toBe("n-1");
  });

  it("makes secrets of 128 bits in base64url, each other than the last", () => {
    const secrets = Array.from({ length: 2000 }, randomSecret);
    expect(new Set(secrets).size).toBe(2000);
    for (const secret of secrets) {
      expect(secret).toMatch(/^[A-Za-z0-9_-]{22}$/);
      expect(Buffer.from(secret, "base64url")).toHaveLength(16);
    }
  });
});
