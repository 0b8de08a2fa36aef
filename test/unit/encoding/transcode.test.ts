import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { DEPTH_MAX } from "../../../src/encoding/json-scan.js";
import { skipMsgpack } from "../../../src/encoding/msgpack-scan.js";
import { jsonToMsgpack, msgpackToJson, pack } from "../../../src/encoding/transcode.js";

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: "number" });
/** As a client's library might pack: maps and integers wider than they must be. */
const loosePackr = new Packr({ useRecords: false, variableMapSize: false, int64AsType: "bigint" });

function toMsgpack(json: string): Buffer {
  return jsonToMsgpack(Buffer.from(json));
}

function hex(json: string): string {
  return toMsgpack(json).toString("hex");
}

function toJson(bytesInHex: string): string {
  return msgpackToJson(Buffer.from(bytesInHex.replaceAll(" ", ""), "hex"));
}

const json = fc.oneof(
  fc.jsonValue({ maxDepth: 6 }),
  fc.array(fc.integer(), { minLength: 14, maxLength: 18 }),
  fc.dictionary(fc.string({ unit: "grapheme" }), fc.maxSafeInteger(), { minKeys: 14, maxKeys: 18 }),
  fc.string({ unit: "grapheme", maxLength: 400 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

describe("JSON to MessagePack", () => {
  it("keeps every value, as msgpackr and JSON.parse read them", () => {
    fc.assert(
      fc.property(json, fc.constantFrom(undefined, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        const bytes = toMsgpack(text);
        expect(skipMsgpack(bytes, 0)).toBe(bytes.length);
        // msgpackr renames this key when it unpacks.
        if (!text.includes("__proto__")) expect(packr.unpack(bytes)).toEqual(JSON.parse(text));
      }),
      { numRuns: 700 },
    );
  });

  it.each([
    ["0", "00"],
    ["127", "7f"],
    ["128", "cc80"],
    ["255", "ccff"],
    ["256", "cd0100"],
    ["65536", "ce00010000"],
    ["4294967295", "ceffffffff"],
    ["4294967296", "cf0000000100000000"],
    ["1732435200000", "cf000001935d2f4800"],
    ["9007199254740991", "cf001fffffffffffff"],
    ["9007199254740993", "cf0020000000000001"],
    ["18446744073709551615", "cfffffffffffffffff"],
    ["18446744073709551616", "cb43f0000000000000"],
    ["-1", "ff"],
    ["-32", "e0"],
    ["-33", "d0df"],
    ["-128", "d080"],
    ["-129", "d1ff7f"],
    ["-32769", "d2ffff7fff"],
    ["-2147483648", "d280000000"],
    ["-2147483649", "d3ffffffff7fffffff"],
    ["-9007199254740993", "d3ffdfffffffffffff"],
    ["-9223372036854775808", "d38000000000000000"],
    ["-9223372036854775809", "cbc3e0000000000000"],
    ["-0", "cb8000000000000000"],
    ["-0.0", "cb8000000000000000"],
    ["1.0", "01"],
    ["1e3", "cd03e8"],
    ["0.5", "cb3fe0000000000000"],
    ["-1.5E-3", "cbbf589374bc6a7efa"],
    ["5e-324", "cb0000000000000001"],
    ["1e400", "cb7ff0000000000000"],
    ["true", "c3"],
    ["false", "c2"],
    ["null", "c0"],
    ['""', "a0"],
    ['"\\u00e9\\n\\"\\\\\\/"', "a6c3a90a225c2f"],
    ['"\\ud83d\\ude00"', "a4f09f9880"],
    ['"\\ud800"', "a3efbfbd"],
    ["[]", "90"],
    ["{}", "80"],
    ["[[],{}]", "929080"],
    ['{"__proto__":1}', "81a95f5f70726f746f5f5f01"],
    ['{"a":1,"a":2}', "82a16101a16102"],
    [` [ 1 , 2 ] `, "920102"],
  ])("writes %s as %s", (text, bytes) => {
    expect(hex(text)).toBe(bytes);
  });

  it("heads containers of every size, nested ones too", () => {
    for (const count of [15, 16, 65_535, 65_536]) {
      const list = Array.from({ length: count }, (_, i) => i % 7);
      const map = Object.fromEntries(list.map((value, i) => [`k${i}`, value]));
      const value = [list, [[list]], { map, list }];
      expect(packr.unpack(toMsgpack(JSON.stringify(value)))).toEqual(value);
    }
    expect(hex(`[${Array(16).fill(0).join(",")}]`)).toBe(`dc0010${"00".repeat(16)}`);
    expect(hex(JSON.stringify("x".repeat(256)))).toBe(`da0100${"78".repeat(256)}`);
    expect(hex(JSON.stringify("x".repeat(65_536)))).toBe(`db00010000${"78".repeat(65_536)}`);
  });

  it("takes number texts of any length in time that grows with the length", () => {
    const long = "9".repeat(200_000);
    expect(hex(long)).toBe("cb7ff0000000000000");
    expect(hex(`0.${long}`)).toBe("01");
  });

  it.each(["", "1 2", "[1", "{1:2}", '{"a" 1}', "[1,]", "x"])("throws for %j, which is not JSON", (text) => {
    expect(() => toMsgpack(text)).toThrow();
  });

  it("throws for more levels than a codec lets in, never a stack overflow", () => {
    expect(() => toMsgpack("[".repeat(100_000))).toThrow(/nest deeper than/);
    const deepest = "[".repeat(DEPTH_MAX) + "]".repeat(DEPTH_MAX);
    expect(msgpackToJson(toMsgpack(deepest))).toBe(deepest);
  });
});

describe("MessagePack to JSON", () => {
  it("keeps every value, as msgpackr and JSON.parse read them", () => {
    fc.assert(
      fc.property(json, fc.constantFrom(packr, loosePackr), (value, packer) => {
        const bytes = packer.pack(value);
        const plain = JSON.parse(JSON.stringify(packr.unpack(bytes))) as unknown;
        const text = msgpackToJson(bytes);
        const parsed = JSON.parse(text) as unknown;
        if (!text.includes("__proto__") && !Object.is(value, -0)) expect(parsed).toEqual(plain);
      }),
      { numRuns: 700 },
    );
  });

  it.each([
    ["7f", "127"],
    ["e0", "-32"],
    ["cc ff", "255"],
    ["cd ff ff", "65535"],
    ["ce ff ff ff ff", "4294967295"],
    ["cf ff ff ff ff ff ff ff ff", "18446744073709551615"],
    ["d0 80", "-128"],
    ["d1 80 00", "-32768"],
    ["d2 80 00 00 00", "-2147483648"],
    ["d3 80 00 00 00 00 00 00 00", "-9223372036854775808"],
    ["ca 3f 80 00 00", "1"],
    ["ca 80 00 00 00", "-0"],
    ["cb 80 00 00 00 00 00 00 00", "-0"],
    ["cb 3f f8 00 00 00 00 00 00", "1.5"],
    ["cb 7f ef ff ff ff ff ff ff", "1.7976931348623157e+308"],
    ["c0", "null"],
    ["c2", "false"],
    ["c3", "true"],
    ["a0", '""'],
    ["a5 22 5c 0a 00 7f", '"\\"\\\\\\n\\u0000\u007f"'],
    ["a3 ef bf bd", '"\ufffd"'],
    ["d9 01 61", '"a"'],
    ["da 00 01 61", '"a"'],
    ["db 00 00 00 01 61", '"a"'],
    ["90", "[]"],
    ["80", "{}"],
    ["dc 00 02 01 02", "[1,2]"],
    ["dd 00 00 00 02 01 02", "[1,2]"],
    ["de 00 01 a1 61 01", '{"a":1}'],
    ["df 00 00 00 01 a1 61 01", '{"a":1}'],
    ["81 a9 5f 5f 70 72 6f 74 6f 5f 5f 01", '{"__proto__":1}'],
    ["82 a1 61 01 a1 61 02", '{"a":1,"a":2}'],
  ])("writes %s as %s", (bytes, text) => {
    expect(toJson(bytes)).toBe(text);
  });

  it("throws for more levels than a codec lets in, never a stack overflow", () => {
    expect(() => msgpackToJson(Buffer.alloc(100_000, 0x91))).toThrow(/nest deeper than/);
  });

  it("throws for bytes that are cut off", () => {
    for (const bytes of ["", "91", "81 a1 61", "a2 61", "dd ff ff ff ff"])
      expect(() => toJson(bytes)).toThrow();
  });
});

describe("there and back", () => {
  it("JSON arrives with equal value: -0, long integers and any key among them", () => {
    const number = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }).map(String),
      fc
        .double({ noNaN: true, noDefaultInfinity: true })
        .map((value) => (Object.is(value, -0) ? "-0" : String(value))),
      fc.constantFrom("-0", "0", "9007199254740993", "-9007199254740993"),
    );
    const key = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constantFrom("__proto__", "constructor", "", "a"),
    );
    const { text } = fc.letrec<{ text: string }>((tie) => ({
      text: fc.oneof(
        { maxDepth: 4 },
        number,
        fc.string({ unit: "grapheme" }).map((value) => JSON.stringify(value)),
        fc.constantFrom("null", "true", "false"),
        fc.array(tie("text")).map((items) => `[${items.join(",")}]`),
        fc
          .array(fc.tuple(key, tie("text")))
          .map(
            (entries) => `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`,
          ),
      ),
    }));
    fc.assert(
      // String(1e21) and the like already are the shortest form, so that equal values are equal texts.
      fc.property(text, (sent) => {
        expect(msgpackToJson(toMsgpack(sent))).toBe(sent);
      }),
      { numRuns: 700 },
    );
  });

  it("MessagePack arrives with equal value, in its shortest form", () => {
    fc.assert(
      fc.property(json, fc.constantFrom(packr, loosePackr), (value, packer) => {
        const bytes = toMsgpack(msgpackToJson(packer.pack(value)));
        expect(packr.unpack(bytes)).toEqual(packr.unpack(packer.pack(value)));
        expect(toMsgpack(msgpackToJson(bytes)).equals(bytes)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it("loses a lone surrogate only: it arrives as U+FFFD", () => {
    expect(msgpackToJson(toMsgpack('{"a\\udc00":"x\\ud800y"}'))).toBe('{"a\ufffd":"x\ufffdy"}');
  });
});

describe("pack", () => {
  it("writes what msgpackr reads as the same value, undefined fields left out", () => {
    fc.assert(
      fc.property(json, (value) => {
        if (JSON.stringify(value).includes("__proto__")) return;
        expect(packr.unpack(pack(value))).toEqual(value);
      }),
      { numRuns: 500 },
    );
    expect(pack({ a: undefined, b: [undefined, NaN] }).toString("hex")).toBe("81a16292c0c0");
    expect(() => pack({ a: 1n })).toThrow("a bigint cannot be packed");
  });

  it("returns a copy of its own", () => {
    const first = pack("one");
    pack("two");
    jsonToMsgpack(Buffer.from('"three"'));
    expect(packr.unpack(first)).toBe("one");
  });
});
