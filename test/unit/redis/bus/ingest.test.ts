import { describe, expect, it } from "vitest";

import { readIngestLine } from "../../../../src/redis/bus/ingest.js";

const read = (line: string | Buffer, maxBytes = 1_000) => readIngestLine(Buffer.from(line), "main", maxBytes);

describe("ingest line", () => {
  it.each([
    ['{"channel":"room","message":"hi"}', '"hi"'],
    ['{"channel":"room","content":{"a":[1,null]}}', '{"a":[1,null]}'],
    [' {"message":null,"channel":"room","more":1} \n', "null"],
    ['{"channel":"room","message":false,"content":1}', "false"],
  ])("reads %s", (line, content) => {
    const { key, payload, from } = read(line);
    expect({ key, from, content: Buffer.from(payload.bytes).toString(), encoding: payload.encoding }).toEqual(
      {
        key: "main/room",
        from: undefined,
        content,
        encoding: 0,
      },
    );
  });

  it("may reach a user, but no other channel of the server's", () => {
    expect(read('{"channel":"#user:42","message":1}').key).toBe("main/#user:42");
    expect(() => read('{"channel":"#admin","message":1}')).toThrow('"#admin"');
  });

  it.each<[string, string | Buffer, RegExp]>([
    ["no JSON", "hello", /expected a JSON value/],
    ["half of it", '{"channel":"room",', /expected a key/],
    ["more than one value", '{"channel":"a","message":1}{}', /more than one/],
    ["no object", '["room",1]', /expected an object/],
    ["null", "null", /expected an object/],
    ["no channel", '{"message":1}', /"channel" is missing/],
    ["no message", '{"channel":"room"}', /"message" is missing/],
    ["a channel with a space", '{"channel":"a b","message":1}', /" " at 1/],
    ["bytes that are not UTF-8", Buffer.from([0x22, 0xff, 0x22]), /not UTF-8/],
    ["nesting 100,000 deep", '{"channel":"a","message":'.padEnd(100_000, "["), /deeper than 64/],
    ["too many bytes", `{"channel":"a","message":"${"x".repeat(200_000)}"}`, /more than 150000/],
  ])("refuses %s", (_, line, problem) => {
    expect(() => read(line, 150_000)).toThrow(problem);
  });
});
