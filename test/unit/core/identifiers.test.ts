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

  it("gives each connection a number, of which its id is found and its neighbours' numbers are not", () => {
    const identifiers = new Identifiers("n-1");
    const ids = Array.from({ length: 5000 }, () => identifiers.next());
    const numbers = ids.map((id) => identifiers.numberOf(id));
    for (const number of numbers) expect(number).toMatch(/^\d{1,10}\.\d{1,39}$/);
    expect(numbers.map((number) => identifiers.idOf(number))).toEqual(ids);
    const seconds = numbers.map((number) => BigInt(number.split(".")[1]!));
    expect(new Set(seconds).size).toBe(5000);
    const [start] = numbers[0]!.split(".");
    for (const second of seconds.slice(0, 100)) {
      expect(identifiers.idOf(`${start}.${second + 1n}`)).toBeUndefined();
      expect(identifiers.idOf(`${start}.${second - 1n}`)).toBeUndefined();
    }
    for (let count = 0; count < 5000; count++) expect(identifiers.idOf(`${start}.${count}`)).toBeUndefined();
  });

  it("knows no number but as it was made", () => {
    const [identifiers, other] = [new Identifiers("n-1"), new Identifiers("n-1")];
    const number = identifiers.numberOf(identifiers.next());
    const [start, second] = number.split(".");
    const wrong = [
      "",
      ".",
      start!,
      `${start}.`,
      `${start}.0${second}`,
      ` ${number}`,
      `${number} `,
      `${number}.`,
    ];
    wrong.push(`${start}.-${second}`, `${start}.${"9".repeat(39)}`, `${start}.${"9".repeat(100)}`, "n-1.x");
    wrong.push(`${start}.0x${BigInt(second!).toString(16)}`, `${start}.${BigInt(second!) + (1n << 128n)}`);
    for (const text of wrong) expect(identifiers.idOf(text), text).toBeUndefined();
    expect(other.idOf(number)).toBeUndefined();
    expect(identifiers.idOf(other.numberOf(other.next()))).toBeUndefined();
  });

  it("makes other secrets for the same ids in another process", () => {
    const [one, other] = [new Identifiers("n-1"), new Identifiers("n-1")];
    expect(one.secretOf(one.next())).not.toBe(other.secretOf(other.next()));
  });
});
