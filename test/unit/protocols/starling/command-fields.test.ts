import { describe, expect, it } from "vitest";
import { CommandError } from "../../../../src/protocols/starling/command-fields.js";
import { CODECS } from "../../../../src/protocols/starling/codecs.js";
import type { Codec } from "../../../../src/protocols/starling/codec.js";
import { jsonCodec } from "../../../../src/protocols/starling/json-codec.js";
import { ACTIONS } from "../../../../src/protocols/starling/messages.js";
import { pack } from "../../../../src/encoding/transcode.js";

function frameOf(codec: Codec, fields: unknown): Uint8Array {
  return codec.binary ? pack(fields) : Buffer.from(JSON.stringify(fields));
}

const SECRET = "secret-secret-secret";

describe.each(CODECS.map((codec) => [codec.name, codec] as const))("a command's fields in %s", (_, codec) => {
  const decode = (fields: unknown) => codec.decode(frameOf(codec, fields));
  const refusal = (fields: unknown): CommandError => {
    try {
      decode(fields);
    } catch (error) {
      if (error instanceof CommandError) return error;
      throw error;
    }
    throw new Error("the frame was taken");
  };

  const refused: [fields: Record<string, unknown>, message: string][] = [
    [{}, `"action" is missing: one of ${ACTIONS.join(", ")}`],
    [{ action: 7 }, '"action" must be a string, not 7'],
    [{ action: null }, '"action" must be a string, not null'],
    [{ action: ["send"] }, '"action" must be a string, not ["send"]'],
    [{ action: { a: 1 } }, '"action" must be a string, not {"a":1}'],
    [{ action: "ping", id: 1.5 }, '"id" must be an integer or a string of at most 64 characters, not 1.5'],
    [{ action: "ping", id: null }, '"id" must be an integer or a string of at most 64 characters, not null'],
    [{ action: "ping", id: true }, '"id" must be an integer or a string of at most 64 characters, not true'],
    [{ action: "ping", id: [1] }, '"id" must be an integer or a string of at most 64 characters, not [1]'],
    [
      { action: "ping", id: 2 ** 53 },
      '"id" must be an integer or a string of at most 64 characters, not 9007199254740992',
    ],
    [
      { action: "ping", id: "i".repeat(65) },
      `"id" must be an integer or a string of at most 64 characters, not "${"i".repeat(60)}…"`,
    ],
    [{ action: "send", channel: 5 }, '"channel" must be a string, not 5'],
    [
      { action: "send", channel: { a: [2 ** 60] } },
      '"channel" must be a string, not {"a":[1152921504606847000]}',
    ],
    [{ action: "send", event: false }, '"event" must be a string, not false'],
    [{ action: "send", event: "e".repeat(201) }, '"event" has 201 characters, at most 200 are allowed'],
    [{ action: "send", echo: "no" }, '"echo" must be true or false, not "no"'],
    [{ action: "send", echo: 0 }, '"echo" must be true or false, not 0'],
    [{ action: "send", tags: ["a"] }, '"tags" must be an object of strings, not ["a"]'],
    [{ action: "send", tags: null }, '"tags" must be an object of strings, not null'],
    [{ action: "send", tags: "a" }, '"tags" must be an object of strings, not "a"'],
    [{ action: "send", tags: { a: 1 } }, 'tag "a" must be a string, not 1'],
    [{ action: "send", tags: { a: { b: 1 } } }, 'tag "a" must be a string, not {"b":1}'],
    [{ action: "send", tags: { a: "x".repeat(129) } }, 'tag "a" is longer than 128 characters'],
    [
      { action: "send", tags: Object.fromEntries([...Array(17).keys()].map((i) => [`k${i}`, "v"])) },
      '"tags" has 17 entries, at most 16 are allowed',
    ],
    [{ action: "connect", token: 5 }, '"token" must be a string, not a number'],
    [{ action: "connect", token: null }, '"token" must be a string, not null'],
    [{ action: "connect", token: [SECRET] }, '"token" must be a string, not an array'],
    [{ action: "connect", token: { token: SECRET } }, '"token" must be a string, not an object'],
    [{ action: "connect", token: "t".repeat(8193) }, '"token" has 8193 characters, at most 8192 are allowed'],
    [{ action: "connect", resume: true }, '"resume" must be a string, not a boolean'],
    [{ action: "connect", resume: "r".repeat(257) }, '"resume" has 257 characters, at most 256 are allowed'],
    [
      { action: "send", contentBase64: 7 },
      '"contentBase64" must be base64 (A-Z a-z 0-9 + /, padded with =), not 7',
    ],
  ];
  it.each(refused.map(([fields, message]) => ({ fields, message })))(
    "are refused: $message",
    ({ fields, message }) => {
      const error = refusal(fields);
      expect(error.code).toBe("bad_request");
      expect(error.message).toBe(message);
      expect(error.temporary).toBe(false);
    },
  );

  it("at their limits are taken", () => {
    const tags = Object.fromEntries(
      [...Array(16).keys()].map((i) => [String(i).padEnd(128, "k"), "v".repeat(128)]),
    );
    const command = decode({
      action: "connect",
      id: "i".repeat(64),
      event: "e".repeat(200),
      tags,
      token: "t".repeat(8192),
      resume: "r".repeat(256),
    });
    expect(command.tags).toEqual(tags);
    expect(command.token).toBe("t".repeat(8192));
    for (const id of [
      0,
      -1,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
      4294967296,
      -2147483649,
      "",
      "é",
    ]) {
      expect(decode({ action: "ping", id }).id).toBe(id);
    }
  });

  it("that are wrong are answered with the id, wherever it stands in the frame", () => {
    expect(refusal({ action: "send", event: 1, id: 42 }).commandId).toBe(42);
    expect(refusal({ id: "a", action: 1 }).commandId).toBe("a");
    expect(refusal({ id: [], action: 1 }).commandId).toBeUndefined();
    expect(refusal({ action: 1 }).commandId).toBeUndefined();
  });

  it("never show a token or a resume token in an error, whatever else is wrong", () => {
    const secrets = { token: SECRET, resume: SECRET };
    for (const wrong of [
      { action: 1 },
      { id: {} },
      { channel: 1 },
      { event: 1 },
      { tags: 1 },
      { echo: 1 },
      { contentBase64: 1 },
      { token: [SECRET] },
      { resume: { a: SECRET } },
      { token: SECRET.repeat(500) },
      { resume: SECRET.repeat(50) },
    ]) {
      const error = refusal({ action: "connect", ...secrets, ...wrong });
      expect(`${error.message} ${error.stack ?? ""}`).not.toContain(SECRET);
      expect(JSON.stringify(error)).not.toContain(SECRET);
    }
  });

  it("that are text beyond ASCII are read, again and again", () => {
    for (let i = 0; i < 3; i++) {
      for (const text of ["é", "Ã©", "ee", "😀", "日本", "\u0080", "a\u0000b"]) {
        expect(decode({ action: "send", event: text, channel: text, id: text })).toMatchObject({
          event: text,
          channel: text,
          id: text,
        });
      }
    }
  });
});

it.each<[fields: object, message: string]>([
  [{ event: "a\ud800" }, '"event" has a lone surrogate at 1: it has no UTF-8'],
  [{ messageId: "\udc00" }, '"messageId" has a lone surrogate at 0: it has no UTF-8'],
  [{ tags: { k: "\ud83d" } }, 'tag "k" has a lone surrogate at 0: it has no UTF-8'],
  [
    { tags: { "\ude00\ud83d": "v" } },
    'the name of tag "\\ude00\\ud83d" has a lone surrogate at 0: it has no UTF-8',
  ],
])("a lone surrogate, which JSON can write and UTF-8 cannot, is refused in %j", (fields, message) => {
  const frame = frameOf(jsonCodec, { action: "send", channel: "a", content: 1, ...fields });
  expect(() => jsonCodec.decode(frame)).toThrow(message);
});
