import { pack } from "msgpackr";
import { describe, expect, it } from "vitest";
import { passOver } from "../../../src/encoding/msgpack-scan.js";

const bytes = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(" ", ""), "hex");

describe("what is passed over by its lengths", () => {
  it.each([
    ["nil", "c0"],
    ["a byte that is never used", "c1"],
    ["a number", "05"],
    ["a negative number", "e0"],
    ["NaN", "cb 7ff8000000000000"],
    ["Infinity", "ca 7f800000"],
    [
      "integers of each width",
      "98 cc01 cd0001 ce00000001 cf0000000000000001 d001 d10001 d200000001 d30000000000000001",
    ],
    ["text that is no UTF-8", "d9 02 ffff"],
    ["texts of each width", "94 a1ff d901ff da0001ff db00000001ff"],
    ["binary of each width", "93 c401ff c50001ff c600000001ff"],
    [
      "extensions of each width",
      "98 d40100 d5010000 d60100000000 d7010000000000000000 d80100000000000000000000000000000000 c7010100 c800010100 c9000000010100",
    ],
    ["maps and arrays within each other", "82 a1ff 91 c0 81 c0 c1 de0001 a0 dd00000000"],
  ])("%s", (_what, hex) => {
    const value = bytes(hex);
    expect(passOver(value, 0)).toBe(value.length);
    expect(passOver(Buffer.concat([Buffer.of(0xc0), value, Buffer.of(7)]), 1)).toBe(value.length + 1);
    for (let end = 0; end < value.length; end++) {
      expect(() => passOver(value.subarray(0, end), 0)).toThrow(/end|fit|past/);
    }
  });

  it("whatever msgpackr writes", () => {
    const value = [1, "x".repeat(70_000), { a: [null, true, 1.5, -7, new Uint8Array(300)] }, new Date(0)];
    expect(passOver(pack(value), 0)).toBe(pack(value).length);
  });

  it("never by more than there is", () => {
    for (const hex of ["dd ffffffff", "db ffffffff 00", "c9 ffffffff 00", "df ffffffff"]) {
      expect(() => passOver(bytes(hex), 0)).toThrow();
    }
  });
});
