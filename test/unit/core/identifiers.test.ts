import { describe, expect, it } from "vitest";
import { Identifiers, nodeOfConnection } from "../../../src/core/identifiers.js";

describe("identifiers", () => {
  it("makes connection ids that differ and name their node", () => {
    const identifiers = new Identifiers("n-1");
    const ids = Array.from({ length: 5000 }, () => identifiers.next());
    expect(new Set(ids).size).toBe(5000);
    expect(nodeOfConnection("nodot")).toBe("");
    for (const id of ids) expect(nodeOfConnection(id)).toBe("n-1");
  });

  it("makes secrets of 128 bits in base64url, no two alike, and each the same whenever it is asked for", () => {
    const identifiers = new Identifiers("n-1");
    const ids = Array.from({ length: 10_000 }, () => identifiers.next());
    const secrets = ids.map((id) => identifiers.secretOf(id));
    expect(new Set(secrets).size).toBe(10_000);
    expect(ids.map((id) => identifiers.secretOf(id))).toEqual(secrets);
    for (const secret of secrets) {
      expect(secret).toMatch(/^[A-Za-z0-9_-]{22}$/);
      expect(Buffer.from(secret, "base64url")).toHaveLength(16);
    }
  });

  it("makes other secrets for the same ids in another process", () => {
    const [one, other] = [new Identifiers("n-1"), new Identifiers("n-1")];
    expect(one.secretOf(one.next())).not.toBe(other.secretOf(other.next()));
  });
});
