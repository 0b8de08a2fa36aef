import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CommandError } from "../../../../src/protocols/starling/command-fields.js";
import { StarlingError } from "../../../../src/core/errors.js";
import { jsonCodec } from "../../../../src/protocols/starling/json-codec.js";
import { DEPTH_MAX } from "../../../../src/encoding/json-scan.js";
import { ACTIONS, type Command } from "../../../../src/protocols/starling/messages.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { type Publication } from "../../../../src/core/publication.js";

const EMPTY: Command = {
  action: "",
  id: undefined,
  channel: undefined,
  content: undefined,
  event: undefined,
  tags: undefined,
  echo: undefined,
  token: undefined,
  resume: undefined,
  messageId: undefined,
  since: undefined,
  positions: undefined,
  limit: undefined,
  reverse: undefined,
};

/** The command with its content as text. */
function decoded(frame: string): Omit<Command, "content"> & { content: string | undefined } {
  const command = jsonCodec.decode(Buffer.from(frame));
  const content = command.content === undefined ? undefined : Buffer.from(command.content.bytes).toString();
  return { ...command, content };
}

function refusal(frame: string | Uint8Array): StarlingError {
  try {
    jsonCodec.decode(typeof frame === "string" ? Buffer.from(frame) : frame);
  } catch (error) {
    if (error instanceof StarlingError) return error;
    throw error;
  }
  throw new Error("the frame was taken");
}

const ROOM = jsonCodec.head("room");

function published(publication: Partial<Publication>, head = ROOM): string {
  const bytes = jsonCodec.encodePublication(head, {
    payload: { bytes: Buffer.from('"hi"'), encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    position: undefined,
    ...publication,
  });
  return Buffer.from(bytes).toString();
}

describe("decoding", () => {
  it("reads frames of action, channel and content alone", () => {
    expect(decoded('{"action":"send","channel":"room","content":"hi"}')).toEqual({
      ...EMPTY,
      action: "send",
      channel: "room",
      content: '"hi"',
    });
    expect(decoded('{"action":"subscribe","channel":"room"}')).toEqual({
      ...EMPTY,
      action: "subscribe",
      channel: "room",
    });
    expect(decoded('{"action":"unsubscribe","channel":"room"}')).toEqual({
      ...EMPTY,
      action: "unsubscribe",
      channel: "room",
    });
  });

  it("reads every field", () => {
    const tags = { lang: "de" };
    const all = { id: 7, channel: "a", event: "e", tags, echo: false, token: "t", resume: "s.r" };
    expect(decoded(JSON.stringify({ action: "connect", ...all, content: [1, null] }))).toEqual({
      action: "connect",
      ...all,
      content: "[1,null]",
    });
  });

  it("leaves content as the bytes that came, a view into the frame", () => {
    const frame = Buffer.from('{"content": {"a" : 1.0, "a":2} ,"action":"send"}');
    const content = jsonCodec.decode(frame).content!;
    expect(content.encoding).toBe(Encoding.json);
    expect(Buffer.from(content.bytes).toString()).toBe('{"a" : 1.0, "a":2}');
    expect(content.bytes.buffer).toBe(frame.buffer);
  });

  it("tells content null from no content", () => {
    expect(decoded('{"action":"send","content":null}').content).toBe("null");
    expect(decoded('{"action":"send"}').content).toBeUndefined();
  });

  it("takes space wherever JSON does", () => {
    expect(decoded('\r\n\t {\n "action" :\t"ping" ,\r "id" : 1 } \n')).toEqual({
      ...EMPTY,
      action: "ping",
      id: 1,
    });
  });

  it("reads keys and values whose characters are escaped", () => {
    expect(
      decoded('{"\\u0061ction":"s\\u0065nd","ch\\u0061nnel":"r\\u006fom","\\u0063ontent":"\\u0061"}'),
    ).toEqual({ ...EMPTY, action: "send", channel: "room", content: '"\\u0061"' });
  });

  it("takes the last of equal keys, escaped or not, as JSON.parse does", () => {
    expect(decoded('{"action":"ping","id":1,"id":2}').id).toBe(2);
    expect(decoded('{"action":"ping","\\u0069d":1,"id":2}').id).toBe(2);
    expect(decoded('{"action":"ping","id":1,"\\u0069d":2}').id).toBe(2);
    expect(decoded('{"action":"send","content":1,"content":[2]}').content).toBe("[2]");
  });

  it("ignores fields it does not know, names of Object.prototype among them", () => {
    const frame =
      '{"__proto__":{"echo":true},"constructor":1,"toString":2,"hasOwnProperty":3,"x":[{}],"action":"ping"}';
    expect(decoded(frame)).toEqual({ ...EMPTY, action: "ping" });
    expect(({} as Record<string, unknown>)["echo"]).toBeUndefined();
  });

  it("keeps a tag named __proto__ as a tag", () => {
    const tags = decoded('{"action":"send","tags":{"__proto__":"x","constructor":"y"}}').tags!;
    expect(Object.entries(tags)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
    expect(Object.getPrototypeOf(tags)).toBe(Object.prototype);
  });

  it("does not carry a field over from the frame before", () => {
    decoded(
      '{"action":"send","id":1,"channel":"a","content":1,"event":"e","echo":true,"token":"t","resume":"r"}',
    );
    expect(decoded('{"action":"ping"}')).toEqual({ ...EMPTY, action: "ping" });
    expect(() => decoded('{"action":"send","channel":"b","content":')).toThrow(StarlingError);
    expect(decoded("{}".replace("}", '"action":"ping"}'))).toEqual({ ...EMPTY, action: "ping" });
  });

  it("hands on an action it does not know", () => {
    expect(decoded('{"action":"Send"}').action).toBe("Send");
    expect(decoded('{"action":""}').action).toBe("");
    expect(decoded('{"action":"sen\\n"}').action).toBe("sen\n");
  });

  it("decodes contentBase64 to bytes, every length of padding", () => {
    for (const length of [0, 1, 2, 3, 255, 256, 100_000]) {
      const bytes = Buffer.alloc(length, "\u0000\u00ff\u0080", "latin1");
      const frame = JSON.stringify({ action: "send", channel: "a", contentBase64: bytes.toString("base64") });
      const content = jsonCodec.decode(Buffer.from(frame)).content!;
      expect(content.encoding).toBe(Encoding.binary);
      expect(Buffer.from(content.bytes).equals(bytes)).toBe(true);
    }
  });

  it.each(["a", "YQ", "YQ=", "YQ== ", "YR==", "_-_-", "====", "YQ==YQ==", "Y!Q="])(
    "refuses contentBase64 %j",
    (text) => {
      const error = refusal(JSON.stringify({ action: "send", contentBase64: text }));
      expect(error.code).toBe("bad_request");
      expect(error.message).toBe(
        `"contentBase64" must be base64 (A-Z a-z 0-9 + /, padded with =), not ${JSON.stringify(text)}`,
      );
    },
  );

  it("refuses content and contentBase64 in one frame", () => {
    const error = refusal('{"action":"send","content":1,"contentBase64":"YQ=="}');
    expect(error.message).toBe('give either "content" or "contentBase64", not both');
  });

  it("agrees with JSON.parse field by field", () => {
    const word = fc.string({ unit: "grapheme", maxLength: 12 });
    const fields: Record<string, fc.Arbitrary<unknown>> = {
      action: fc.oneof(fc.constantFrom(...ACTIONS), word),
      id: fc.oneof(fc.maxSafeInteger(), fc.nat(99), word, fc.constantFrom(0, 1e15, -1, "\ud800", 'a\\b"')),
      channel: fc.oneof(word, fc.string({ unit: "binary", maxLength: 80 })),
      content: fc.jsonValue({ maxDepth: 3 }),
      event: word,
      tags: fc.dictionary(fc.oneof(word, fc.constant("__proto__")), word, { maxKeys: 5 }),
      echo: fc.boolean(),
      token: fc.string({ unit: "binary", maxLength: 300 }),
      resume: word,
      other: fc.jsonValue({ maxDepth: 3 }),
    };
    const key = fc.constantFrom(...Object.keys(fields).filter((name) => name !== "action"));
    const escaped = (name: string, at: number) => {
      const index = at % name.length;
      const hex = name.charCodeAt(index).toString(16).padStart(4, "0");
      return `"${name.slice(0, index)}\\u${hex}${name.slice(index + 1)}"`;
    };
    const entry = fc
      .tuple(fc.oneof(key, fc.constant("action")), fc.boolean(), fc.nat(), fc.constantFrom("", " ", "\n"))
      .chain(([name, escape, at, space]) =>
        fields[name]!.map((value) => {
          const keyText = escape ? escaped(name, at) : JSON.stringify(name);
          return `${space}${keyText}${space}:${space}${JSON.stringify(value)}${space}`;
        }),
      );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), fc.constantFrom(...ACTIONS), (entries, action) => {
        const text = `{${[...entries, `"action":"${action}"`].join(",")}}`;
        const oracle = JSON.parse(text) as Record<string, unknown>;
        const command = decoded(text);
        for (const name of Object.keys(EMPTY)) {
          const got = command[name as keyof Command];
          if (name === "content" && got !== undefined)
            expect(JSON.parse(got as string)).toEqual(oracle["content"]);
          else expect([name, got]).toEqual([name, oracle[name]]);
        }
      }),
      { numRuns: 600 },
    );
  });

  it("throws nothing but StarlingError, whatever the bytes", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.tuple(fc.uint8Array({ maxLength: 4 }), fc.nat(80)).map(([put, at]) => {
        const frame = Buffer.from(
          '{"action":"send","id":1,"channel":"room","content":{"a":[1,2]},"tags":{"a":"b"}}',
        );
        frame.set(put, Math.min(at, frame.length - put.length));
        return new Uint8Array(frame);
      }),
    );
    fc.assert(
      fc.property(bytes, (frame) => {
        try {
          jsonCodec.decode(frame);
        } catch (error) {
          expect(error).toBeInstanceOf(StarlingError);
        }
      }),
      { numRuns: 2500 },
    );
  });
});

describe("a frame that cannot be read", () => {
  it.each([
    ["", 'the frame is empty, expected an object such as {"action":"ping"} at byte 0'],
    ["  ", 'expected an object such as {"action":"ping"}, found the end at byte 2'],
    ["hello", 'expected an object such as {"action":"ping"}, found "h" at byte 0'],
    ['[{"action":"ping"}]', 'expected an object such as {"action":"ping"}, found "[" at byte 0'],
    ['"ping"', `expected an object such as {"action":"ping"}, found '"' at byte 0`],
    ["null", 'expected an object such as {"action":"ping"}, found "n" at byte 0'],
    ['{action:"send"}', 'expected a key in double quotes, found "a" at byte 1'],
    [
      "{'action':'send'}",
      `expected a key in double quotes, found "'" at byte 1 (JSON takes double quotes only)`,
    ],
    [`{"action":'send'}`, `expected a JSON value, found "'" at byte 10 (JSON takes double quotes only)`],
    [
      '{"action":send}',
      'expected a JSON value, found "s" at byte 10 (text goes in double quotes; only true, false and null go without)',
    ],
    ['{"action":"ping",}', 'expected a key in double quotes, found "}" at byte 17 (no comma before it)'],
    ['{"action":"ping"', 'expected "," or "}", found the end at byte 16'],
    ['{"action":"ping"}}', 'expected the end, found "}" at byte 17'],
    ['{"action":"ping"} {"action":"ping"}', 'expected the end, found "{" at byte 18'],
    ['{"action" "ping"}', `expected ":", found '"' at byte 10`],
    ['{"action":"ping" "id":1}', `expected "," or "}", found '"' at byte 17`],
    [
      "{“action”:“ping”}",
      'expected a key in double quotes, found "“" at byte 1 (JSON takes straight double quotes (") only)',
    ],
    ["{,}", 'expected a key in double quotes, found "," at byte 1'],
  ])("%s is bad_frame and says where", (frame, message) => {
    const error = refusal(frame);
    expect(error.code).toBe("bad_frame");
    expect(error.message).toBe(`bad JSON frame: ${message}`);
    expect(error).not.toBeInstanceOf(CommandError);
  });

  it("that is MessagePack is told which subprotocol that is", () => {
    expect(refusal(Uint8Array.of(0x81, 0xa1, 0x61, 1)).message).toBe(
      'bad JSON frame: expected an object such as {"action":"ping"}, found a MessagePack map at byte 0 ' +
        "(its subprotocol is starling.v1.msgpack)",
    );
  });

  it("of depth 100,000 is refused, in content, in an unknown field and bare", () => {
    const deep = "[".repeat(100_000);
    const closed = deep + "]".repeat(100_000);
    for (const frame of [
      `{"content":${closed}}`,
      `{"x":${closed},"action":"ping"}`,
      deep,
      '{"a":'.repeat(100_000),
    ]) {
      expect(refusal(frame).code).toBe("bad_frame");
    }
    const most = "[".repeat(DEPTH_MAX) + "]".repeat(DEPTH_MAX);
    expect(decoded(`{"action":"send","content":${most}}`).content).toBe(most);
  });

  it("never has more than one character of the frame in its message", () => {
    const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl";
    const whole = `{"action":"connect","token":"${token}","resume":"${token}","id":1}`;
    for (let cut = 0; cut < whole.length; cut++) {
      expect(refusal(whole.slice(0, cut)).message).not.toContain(token.slice(0, 6));
      if (whole[cut] === '"' || whole[cut] === ":" || whole[cut] === ",") {
        expect(refusal(whole.slice(0, cut) + "\u0001" + whole.slice(cut + 1)).message).not.toContain(
          token.slice(0, 6),
        );
      }
    }
  });
});

describe("encoding", () => {
  it("writes a publication of channel and content alone", () => {
    expect(published({})).toBe('{"type":"message","channel":"room","content":"hi"}');
  });

  it("writes every field of a publication", () => {
    expect(
      published({
        from: { connection: "n1-7", user: 'a"b' },
        event: "e\n",
        tags: { k: "v" },
        position: { offset: 4_294_967_296, epoch: "x" },
      }),
    ).toBe(
      '{"type":"message","channel":"room","content":"hi","from":{"connection":"n1-7","user":"a\\"b"},' +
        '"event":"e\\n","tags":{"k":"v"},"offset":4294967296,"epoch":"x"}',
    );
    expect(published({ from: { connection: "n1-7" } })).toBe(
      '{"type":"message","channel":"room","content":"hi","from":{"connection":"n1-7"}}',
    );
  });

  it("gives bytes as contentBase64", () => {
    expect(published({ payload: { bytes: Uint8Array.of(0, 255, 128), encoding: Encoding.binary } })).toBe(
      '{"type":"message","channel":"room","contentBase64":"AP+A"}',
    );
    expect(published({ payload: { bytes: new Uint8Array(0), encoding: Encoding.binary } })).toBe(
      '{"type":"message","channel":"room","contentBase64":""}',
    );
  });

  it("gives MessagePack content as JSON", () => {
    const bytes = Uint8Array.of(0x82, 0xa1, 0x61, 0x93, 1, 0xc0, 0xc3, 0xa3, 0xc3, 0xa9, 0x22, 0xff);
    expect(published({ payload: { bytes, encoding: Encoding.msgpack } })).toBe(
      '{"type":"message","channel":"room","content":{"a":[1,null,true],"é\\"":-1}}',
    );
  });

  it("writes each channel's own head, whatever came before", () => {
    const channels = ["room", "room", "roomy", "r", "room", "#user:42", "x".repeat(255), "room"];
    for (const channel of channels) {
      expect(published({}, jsonCodec.head(channel))).toBe(
        `{"type":"message","channel":"${channel}","content":"hi"}`,
      );
    }
  });

  it("writes small frames after huge ones, on the same channel and on another", () => {
    const huge = Buffer.from(`"${"z".repeat(3_000_000)}"`);
    const heads = new Map(["room", "other"].map((channel) => [channel, jsonCodec.head(channel)]));
    for (const channel of ["room", "room", "other", "room"]) {
      const head = heads.get(channel);
      const frame = published({ payload: { bytes: huge, encoding: Encoding.json } }, head);
      expect(frame.length).toBe(`{"type":"message","channel":"${channel}","content":}`.length + huge.length);
      expect(JSON.parse(frame)).toEqual({ type: "message", channel, content: "z".repeat(3_000_000) });
      expect(published({}, head)).toBe(`{"type":"message","channel":"${channel}","content":"hi"}`);
    }
  });

  it("writes the right frame after content that could not be written", () => {
    const broken = { bytes: Uint8Array.of(0xa5, 0x61), encoding: Encoding.msgpack };
    const first = jsonCodec.head("first");
    expect(() => published({ payload: broken }, first)).toThrow();
    expect(published({}, first)).toBe('{"type":"message","channel":"first","content":"hi"}');
    expect(published({}, jsonCodec.head("second"))).toBe(
      '{"type":"message","channel":"second","content":"hi"}',
    );
  });

  it("writes any position as JSON does", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.string({ unit: "binary", maxLength: 40 }), (offset, epoch) => {
        expect(JSON.parse(published({ position: { offset, epoch } }))).toMatchObject({ offset, epoch });
      }),
    );
    for (const offset of [0, 9, 10, 99, 100, 2 ** 53 - 1]) {
      expect(published({ position: { offset, epoch: "e" } })).toContain(`"offset":${offset},"epoch":"e"}`);
    }
  });

  it("reuses one buffer: a frame is valid until the next", () => {
    const publication = (text: string): Publication => ({
      payload: { bytes: Buffer.from(JSON.stringify(text)), encoding: Encoding.json },
      from: undefined,
      event: undefined,
      tags: undefined,
      position: undefined,
    });
    const first = jsonCodec.encodePublication(ROOM, publication("one"));
    expect(Buffer.from(first).toString()).toContain('"one"');
    const second = jsonCodec.encodePublication(ROOM, publication("two"));
    expect(second.buffer).toBe(first.buffer);
    expect(Buffer.from(first).toString()).toContain('"two"');
  });

  it("keeps messages to one socket out of the buffer of publications", () => {
    const first = jsonCodec.encode({ type: "reply", id: 1 });
    published({});
    expect(Buffer.from(first).toString()).toBe('{"type":"reply","id":1}');
  });

  it("says in each welcome what its connection and its node say", () => {
    const welcome = {
      type: "welcome",
      node: "n1",
      connection: "n1.a",
      session: "n1.a",
      resume: "n1.a.secret",
      heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
      limits: { frameBytes: 1, channels: 2, messagesPerSecond: 3, bytesPerSecond: 4 },
      authenticate: false,
    } as const;
    const others = [
      { ...welcome, connection: "n1.b", session: "n1.b", resume: "n1.b.other" },
      { ...welcome, node: "n2" },
      { ...welcome, heartbeat: { intervalMs: 1000, timeoutMs: 500 } },
      { ...welcome, limits: { ...welcome.limits, channels: 9 } },
      { ...welcome, authenticate: true },
    ];
    for (const message of [welcome, ...others, welcome]) {
      expect(Buffer.from(jsonCodec.encode(message)).toString()).toBe(JSON.stringify(message));
    }
  });

  it("writes every kind of message", () => {
    const text = (message: Parameters<typeof jsonCodec.encode>[0]) =>
      Buffer.from(jsonCodec.encode(message)).toString();
    expect(
      text({
        type: "welcome",
        node: "n1",
        connection: "n1-1",
        session: "s",
        resume: "r",
        heartbeat: { intervalMs: 30000, timeoutMs: 10000 },
        limits: { frameBytes: 65536, channels: 100, messagesPerSecond: 50, bytesPerSecond: 1000000 },
        authenticate: false,
      }),
    ).toBe(
      '{"type":"welcome","node":"n1","connection":"n1-1","session":"s","resume":"r",' +
        '"heartbeat":{"intervalMs":30000,"timeoutMs":10000},' +
        '"limits":{"frameBytes":65536,"channels":100,"messagesPerSecond":50,"bytesPerSecond":1000000},' +
        '"authenticate":false}',
    );
    expect(text({ type: "reply", id: "a", resumed: true, channels: ["x"], reason: undefined })).toBe(
      '{"type":"reply","id":"a","resumed":true,"channels":["x"]}',
    );
    expect(
      text({ type: "error", id: 7, code: "rate_limited", message: "m", temporary: true, retryAfterMs: 100 }),
    ).toBe('{"type":"error","id":7,"code":"rate_limited","message":"m","temporary":true,"retryAfterMs":100}');
    expect(text({ type: "unsubscribed", channel: "a", code: "forbidden", message: "m" })).toBe(
      '{"type":"unsubscribed","channel":"a","code":"forbidden","message":"m"}',
    );
    expect(text({ type: "closing", code: 1012, reason: "r", reconnect: true, retryAfterMs: 5 })).toBe(
      '{"type":"closing","code":1012,"reason":"r","reconnect":true,"retryAfterMs":5}',
    );
    expect(text({ type: "pong" })).toBe('{"type":"pong"}');
  });
});
