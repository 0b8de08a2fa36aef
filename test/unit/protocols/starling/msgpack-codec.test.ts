import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { StarlingError } from "../../../../src/core/errors.js";
import { DEPTH_MAX } from "../../../../src/encoding/json-scan.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { type Command } from "../../../../src/protocols/starling/messages.js";
import { type Publication } from "../../../../src/core/publication.js";
import { msgpackCodec } from "../../../../src/protocols/starling/msgpack-codec.js";

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: "number" });

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

/** Bytes from hex digits (space between) and text in quotes: `81 a1 "a" 01`. */
function bytesOf(notation: string): Buffer {
  const parts = notation.match(/"[^"]*"|[0-9a-f]{2}/g) ?? [];
  return Buffer.concat(
    parts.map((part) => (part[0] === '"' ? Buffer.from(part.slice(1, -1)) : Buffer.from(part, "hex"))),
  );
}

/** A frame with `{"action":"send","content":` and these bytes. */
function sendOf(content: Uint8Array | string): Buffer {
  const bytes = typeof content === "string" ? bytesOf(content) : content;
  return Buffer.concat([bytesOf('82 a6 "action" a4 "send" a7 "content"'), bytes]);
}

function refusal(frame: Uint8Array): StarlingError {
  try {
    msgpackCodec.decode(frame);
  } catch (error) {
    if (error instanceof StarlingError) return error;
    throw error;
  }
  throw new Error("the frame was taken");
}

function contentOf(frame: Uint8Array): { bytes: Uint8Array; encoding: Encoding } {
  const content = msgpackCodec.decode(frame).content;
  if (content === undefined) throw new Error("no content");
  return content;
}

const ROOM = msgpackCodec.head("room");

function published(publication: Partial<Publication>): Buffer {
  return Buffer.from(
    msgpackCodec.encodePublication(ROOM, {
      payload: { bytes: bytesOf('a2 "hi"'), encoding: Encoding.msgpack },
      from: undefined,
      event: undefined,
      tags: undefined,
      position: undefined,
      ...publication,
    }),
  );
}

describe("decoding", () => {
  it("reads a frame of action, channel and content alone", () => {
    const frame = bytesOf('83 a6 "action" a4 "send" a7 "channel" a4 "room" a7 "content" a2 "hi"');
    expect(msgpackCodec.decode(frame)).toEqual({
      ...EMPTY,
      action: "send",
      channel: "room",
      content: { bytes: bytesOf('a2 "hi"'), encoding: Encoding.msgpack },
    });
  });

  it("leaves content as a view into the frame", () => {
    const frame = sendOf("93 01 02 03");
    const { bytes } = contentOf(frame);
    expect(bytes.buffer).toBe(frame.buffer);
    expect(Buffer.from(bytes).equals(bytesOf("93 01 02 03"))).toBe(true);
  });

  it("reads a frame that lies in the middle of a buffer", () => {
    const frame = sendOf("01");
    const around = Buffer.concat([bytesOf("ff ff ff"), frame, bytesOf("c1")]);
    const view = new Uint8Array(around.buffer, around.byteOffset + 3, frame.length);
    expect(Buffer.from(contentOf(view).bytes)).toEqual(Buffer.of(1));
  });

  it.each([
    ["c4 00", ""],
    ["c4 03 01 02 ff", "0102ff"],
    ["c5 00 02 01 02", "0102"],
    ["c6 00 00 00 01 80", "80"],
  ])("reads content %s as bytes", (content, hex) => {
    const payload = contentOf(sendOf(content));
    expect(payload.encoding).toBe(Encoding.binary);
    expect(Buffer.from(payload.bytes).toString("hex")).toBe(hex);
  });

  it("reads names, strings and integers of every width", () => {
    const ids: [string, number][] = [
      ["05", 5],
      ["e0", -32],
      ["cc 05", 5],
      ["cd 00 05", 5],
      ["ce ff ff ff ff", 4294967295],
      ["cf 00 00 00 00 00 00 00 05", 5],
      ["cf 00 1f ff ff ff ff ff ff", Number.MAX_SAFE_INTEGER],
      ["d0 80", -128],
      ["d1 80 00", -32768],
      ["d2 80 00 00 00", -2147483648],
      ["d3 ff ff ff ff ff ff ff fb", -5],
      ["cb 40 14 00 00 00 00 00 00", 5],
      ["ca 40 a0 00 00", 5],
    ];
    for (const [bytes, id] of ids) {
      expect(msgpackCodec.decode(bytesOf(`82 a6 "action" a4 "ping" a2 "id" ${bytes}`)).id).toBe(id);
    }
    for (const width of ["d9 06", "da 00 06", "db 00 00 00 06"]) {
      expect(msgpackCodec.decode(bytesOf(`81 ${width} "action" a4 "ping"`)).action).toBe("ping");
    }
    for (const width of ["a4", "d9 04", "da 00 04", "db 00 00 00 04"]) {
      const command = msgpackCodec.decode(
        bytesOf(`82 a6 "action" ${width} "send" a7 "channel" ${width} "room"`),
      );
      expect([command.action, command.channel]).toEqual(["send", "room"]);
    }
    expect(msgpackCodec.decode(bytesOf('de 00 01 a6 "action" a4 "ping"')).action).toBe("ping");
    expect(msgpackCodec.decode(bytesOf('df 00 00 00 01 a6 "action" a4 "ping"')).action).toBe("ping");
  });

  it.each(['ce "send"', 'ca "send"', 'd2 "ping"', "94 73 65 6e 64", 'c4 04 "send"'])(
    "does not take %s for an action because its bytes spell one",
    (value) => {
      const error = refusal(bytesOf(`81 a6 "action" ${value}`));
      expect(error.message).toMatch(/"action" must be a string|binary inside other content/);
    },
  );

  it("takes the last of equal keys", () => {
    expect(msgpackCodec.decode(bytesOf('83 a6 "action" a4 "ping" a2 "id" 01 a2 "id" 02')).id).toBe(2);
    const twice = bytesOf('83 a6 "action" a4 "send" a7 "content" c4 01 09 a7 "content" 07');
    expect(contentOf(twice)).toEqual({ bytes: Buffer.of(7), encoding: Encoding.msgpack });
  });

  it("keeps a tag named __proto__ as a tag", () => {
    const frame = bytesOf('82 a6 "action" a4 "send" a4 "tags" 81 a9 "__proto__" a1 "x"');
    expect(Object.entries(msgpackCodec.decode(frame).tags!)).toEqual([["__proto__", "x"]]);
  });

  it("does not carry a field over from the frame before", () => {
    msgpackCodec.decode(
      packr.pack({ action: "send", id: 1, channel: "a", content: 1, echo: true, token: "t" }),
    );
    expect(msgpackCodec.decode(packr.pack({ action: "ping" }))).toEqual({ ...EMPTY, action: "ping" });
  });

  it("agrees with msgpackr on whatever msgpackr packs", () => {
    const content = fc.oneof(
      fc.jsonValue({ maxDepth: 4 }),
      fc.uint8Array({ maxLength: 300 }),
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.string({ unit: "grapheme", minLength: 200, maxLength: 400 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.array(fc.integer(), { minLength: 14, maxLength: 20 }),
      fc.constantFrom("x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256), "x".repeat(65536)),
    );
    const command = fc.record(
      {
        action: fc.constantFrom("send", "ping", "other", "é"),
        id: fc.oneof(fc.maxSafeInteger(), fc.string({ maxLength: 60 })),
        channel: fc.string({ unit: "binary", maxLength: 300 }),
        content,
        event: fc.string({ maxLength: 200 }),
        tags: fc.dictionary(fc.string({ maxLength: 40 }), fc.string({ maxLength: 100 }), { maxKeys: 16 }),
        echo: fc.boolean(),
        token: fc.string({ maxLength: 1000 }),
        resume: fc.string({ maxLength: 200 }),
        unknown: fc.jsonValue({ maxDepth: 3 }),
      },
      { requiredKeys: ["action"] },
    );
    fc.assert(
      fc.property(command, (sent) => {
        const frame = packr.pack(sent);
        // msgpackr renames this key when it unpacks; ours is tested above.
        if (frame.includes("__proto__")) return;
        const oracle = packr.unpack(frame) as Record<string, unknown>;
        const got = msgpackCodec.decode(frame);
        for (const name of Object.keys(EMPTY)) {
          if (name !== "content") expect([name, got[name as keyof Command]]).toEqual([name, oracle[name]]);
        }
        if (!("content" in sent)) expect(got.content).toBeUndefined();
        else if (sent.content instanceof Uint8Array) {
          expect(got.content!.encoding).toBe(Encoding.binary);
          expect(Buffer.from(got.content!.bytes).equals(Buffer.from(sent.content))).toBe(true);
        } else {
          expect(got.content!.encoding).toBe(Encoding.msgpack);
          expect(packr.unpack(got.content!.bytes)).toEqual(oracle["content"]);
        }
      }),
      { numRuns: 700 },
    );
  });

  it("throws nothing but StarlingError, whatever the bytes", () => {
    const whole = packr.pack({
      action: "send",
      id: 2 ** 40,
      channel: "room",
      content: { a: [1, 2.5, "é"], b: null },
      tags: { a: "b" },
      echo: false,
    });
    const mutated = fc
      .array(
        fc.tuple(fc.nat(whole.length - 1), fc.oneof(fc.nat(255), fc.integer({ min: 0xc0, max: 0xdf }))),
        {
          minLength: 1,
          maxLength: 4,
        },
      )
      .map((edits) => {
        const frame = new Uint8Array(whole);
        for (const [at, byte] of edits) frame[at] = byte;
        return frame;
      });
    const cut = fc.nat(whole.length).map((length) => new Uint8Array(whole.subarray(0, length)));
    fc.assert(
      fc.property(fc.oneof(mutated, cut, fc.uint8Array({ maxLength: 40 })), (frame) => {
        let command: Command;
        try {
          command = msgpackCodec.decode(frame);
        } catch (error) {
          expect(error).toBeInstanceOf(StarlingError);
          return;
        }
        // What was taken can be delivered, and JSON clients can read it.
        if (command.content?.encoding === Encoding.msgpack) packr.unpack(command.content.bytes);
      }),
      { numRuns: 4000 },
    );
  });
});

describe("a frame that cannot be read", () => {
  it.each([
    ["", "the frame is empty, expected a map at byte 0"],
    ["c0", "expected a map, found nil at byte 0"],
    ["91 01", "expected a map, found an array at byte 0"],
    ['a4 "ping"', "expected a map, found a string at byte 0"],
    ["c4 00", "expected a map, found binary at byte 0"],
    [
      '"{}"',
      "expected a map, found a number at byte 0 (if this is JSON, its subprotocol is starling.v1.json)",
    ],
    ["81 01 02", "expected a string as key, found a number at byte 1"],
    ["81 c0 02", "expected a string as key, found nil at byte 1"],
    ["80 80", "expected the end of the frame, found 1 more bytes at byte 1"],
    ["81", "a map of 1 does not fit in the 0 bytes that are left at byte 0"],
    ['82 a1 "a" 01', "a map of 2 does not fit in the 3 bytes that are left at byte 0"],
    ['82 a1 "a" a1 "b"', "expected a value, found the end at byte 5"],
    ['81 a3 "ab"', "the value reaches past the end of the frame (4 bytes) at byte 1"],
    ['81 a1 "a" cb 00', "the value reaches past the end of the frame (5 bytes) at byte 3"],
    ['81 a1 "a" a2 c3 28', "a string that is not UTF-8 at byte 3"],
    ['81 a1 "a" a3 ed a0 80', "a string that is not UTF-8 at byte 3"],
    ["81 a1 ff 01", "a string that is not UTF-8 at byte 1"],
  ])("[%s] is bad_frame and says where", (notation, message) => {
    const error = refusal(bytesOf(notation));
    expect(error.code).toBe("bad_frame");
    expect(error.message).toBe(`bad MessagePack frame: ${message}`);
  });

  it.each([
    ["cb 7f f8 00 00 00 00 00 00", "NaN or Infinity has no JSON form at byte 21"],
    ["cb 7f f0 00 00 00 00 00 00", "NaN or Infinity has no JSON form at byte 21"],
    ["cb ff f0 00 00 00 00 00 00", "NaN or Infinity has no JSON form at byte 21"],
    ["ca 7f c0 00 00", "NaN or Infinity has no JSON form at byte 21"],
    ["ca ff 80 00 00", "NaN or Infinity has no JSON form at byte 21"],
    [
      "d6 ff 00 00 00 00",
      "an extension (0xd6) has no JSON form at byte 21 (give times as a number or a string)",
    ],
    ["c7 00 01", "an extension (0xc7) has no JSON form at byte 21 (give times as a number or a string)"],
    ["d4 00 00", "an extension (0xd4) has no JSON form at byte 21 (give times as a number or a string)"],
    ["c1", "0xc1, which MessagePack never uses, has no JSON form at byte 21"],
    ["91 c4 01 00", "binary inside other content at byte 22 (only content itself may be binary)"],
    ["81 01 02", "expected a string as key, found a number at byte 22"],
    ["81 c4 01 61 02", "expected a string as key, found binary at byte 22"],
    ["92 01", "an array of 2 does not fit in the 1 bytes that are left at byte 21"],
  ])("has content [%s], is bad_frame and says why", (content, message) => {
    expect(refusal(sendOf(content)).message).toBe(`bad MessagePack frame: ${message}`);
  });

  it("takes the largest finite floats", () => {
    expect(contentOf(sendOf("cb 7f ef ff ff ff ff ff ff")).bytes.length).toBe(9);
    expect(contentOf(sendOf("ca 7f 7f ff ff")).bytes.length).toBe(5);
  });

  it.each([
    ["map32", "df ff ff ff ff"],
    ["array32", "dd ff ff ff ff"],
    ["str32", "db ff ff ff ff"],
    ["bin32", "c6 ff ff ff ff"],
    ["map16", "de ff ff"],
    ["array16", "dc ff ff"],
  ])("declares a %s of the largest length: refused without allocating it", (_, head) => {
    const before = process.memoryUsage();
    for (let i = 0; i < 1000; i++) {
      expect(refusal(sendOf(`${head} 01 02`)).code).toBe("bad_frame");
      expect(refusal(bytesOf(`${head} 01 02`)).code).toBe("bad_frame");
    }
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(50_000_000);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(200_000_000);
  });

  it("nests arrays that declare 0x01ffffff elements each: refused at the first", () => {
    const nested = Buffer.concat(Array.from({ length: 5000 }, () => bytesOf("dd 01 ff ff ff")));
    expect(refusal(sendOf(nested)).message).toContain("an array of 33554431 does not fit");
  });

  it("of depth 100,000 is refused, in content, in an unknown field and bare", () => {
    const deep = Buffer.alloc(100_001, 0x91);
    deep[100_000] = 0xc0;
    const unknown = Buffer.concat([bytesOf('81 a1 "x"'), deep]);
    const maps = Buffer.concat([bytesOf('81 a1 "x"'), Buffer.from("81a161".repeat(100_000) + "c0", "hex")]);
    for (const frame of [sendOf(deep), unknown, maps]) {
      expect(refusal(frame).message).toContain(`nest deeper than ${DEPTH_MAX} levels`);
    }
    const most = Buffer.alloc(DEPTH_MAX + 1, 0x91);
    most[DEPTH_MAX] = 0xc0;
    expect(contentOf(sendOf(most)).bytes.length).toBe(DEPTH_MAX + 1);
    expect(refusal(sendOf(Buffer.concat([bytesOf("91"), most]))).code).toBe("bad_frame");
  });
});

describe("encoding", () => {
  it("writes a publication of channel and content alone", () => {
    expect(published({})).toEqual(
      bytesOf('83 a4 "type" a7 "message" a7 "channel" a4 "room" a7 "content" a2 "hi"'),
    );
  });

  it("writes every field of a publication", () => {
    const bytes = published({
      from: { connection: "n1-7", user: "ü" },
      event: "e",
      tags: { k: "v" },
      position: { offset: 2 ** 32, epoch: "x" },
    });
    expect(bytes).toEqual(
      bytesOf(
        '88 a4 "type" a7 "message" a7 "channel" a4 "room" a7 "content" a2 "hi" a4 "from" 82 aa "connection" a4 "n1-7" ' +
          'a4 "user" a2 "ü" a5 "event" a1 "e" a4 "tags" 81 a1 "k" a1 "v" ' +
          'a6 "offset" cf 00 00 00 01 00 00 00 00 a5 "epoch" a1 "x"',
      ),
    );
    expect(published({ from: { connection: "n1-7" } })).toEqual(
      bytesOf(
        '84 a4 "type" a7 "message" a7 "channel" a4 "room" a7 "content" a2 "hi" a4 "from" 81 aa "connection" a4 "n1-7"',
      ),
    );
  });

  it("gives JSON content as MessagePack", () => {
    const bytes = Buffer.from(' {"a" : [1, null, true], "\\u00e9": -1.5} ');
    expect(published({ payload: { bytes, encoding: Encoding.json } })).toEqual(
      bytesOf(
        '83 a4 "type" a7 "message" a7 "channel" a4 "room" a7 "content" ' +
          '82 a1 "a" 93 01 c0 c3 a2 "é" cb bf f8 00 00 00 00 00 00',
      ),
    );
  });

  it.each([
    [0, "c400"],
    [255, "c4ff"],
    [256, "c50100"],
    [65_535, "c5ffff"],
    [65_536, "c600010000"],
  ])("gives %i bytes as binary, its head as short as it can be", (length, head) => {
    const bytes = new Uint8Array(length).fill(7);
    const frame = published({ payload: { bytes, encoding: Encoding.binary } });
    const start = published({}).length - 3;
    expect(frame.subarray(start, start + head.length / 2).toString("hex")).toBe(head);
    expect(new Uint8Array((packr.unpack(frame) as { content: Buffer }).content)).toEqual(bytes);
  });

  it("writes long strings with a head that fits", () => {
    for (const length of [31, 32, 255, 256, 65_535, 65_536, 100_000]) {
      const user = "u".repeat(length);
      const message = packr.unpack(published({ from: { connection: "c", user } })) as {
        from: { user: string };
      };
      expect(message.from.user).toBe(user);
    }
  });

  it("writes small frames after huge ones", () => {
    const small = published({});
    const bytes = new Uint8Array(3_000_000);
    expect(published({ payload: { bytes, encoding: Encoding.binary } }).length).toBe(
      small.length + 3_000_002,
    );
    expect(published({})).toEqual(small);
  });

  it("reuses one buffer: a frame is valid until the next; messages to one socket are not in it", () => {
    const reply = msgpackCodec.encode({ type: "reply", id: 1 });
    const publication = {
      from: undefined,
      event: undefined,
      tags: undefined,
      position: undefined,
    };
    const first = msgpackCodec.encodePublication(ROOM, {
      ...publication,
      payload: { bytes: bytesOf("01"), encoding: Encoding.msgpack },
    });
    const second = msgpackCodec.encodePublication(ROOM, {
      ...publication,
      payload: { bytes: bytesOf("02"), encoding: Encoding.msgpack },
    });
    expect(second.buffer).toBe(first.buffer);
    expect(first.at(-1)).toBe(2);
    msgpackCodec.encode({ type: "reply", id: 2 });
    expect(Buffer.from(reply)).toEqual(bytesOf('82 a4 "type" a5 "reply" a2 "id" 01'));
  });

  it("writes every kind of message, fields that are undefined left out", () => {
    const encode = (message: Parameters<typeof msgpackCodec.encode>[0]) =>
      Buffer.from(msgpackCodec.encode(message));
    expect(encode({ type: "pong" })).toEqual(bytesOf('81 a4 "type" a4 "pong"'));
    expect(
      encode({ type: "reply", id: "a", resumed: true, channels: ["x"], reason: undefined, user: null }),
    ).toEqual(
      bytesOf('85 a4 "type" a5 "reply" a2 "id" a1 "a" a7 "resumed" c3 a8 "channels" 91 a1 "x" a4 "user" c0'),
    );
    expect(
      encode({
        type: "error",
        id: -7,
        code: "rate_limited",
        message: "m",
        temporary: true,
        retryAfterMs: 70_000,
      }),
    ).toEqual(
      bytesOf(
        '86 a4 "type" a5 "error" a2 "id" f9 a4 "code" ac "rate_limited" a7 "message" a1 "m" a9 "temporary" c3 ' +
          'ac "retryAfterMs" ce 00 01 11 70',
      ),
    );
    expect(encode({ type: "unsubscribed", channel: "a", code: "forbidden", message: "m" })).toEqual(
      bytesOf(
        '84 a4 "type" ac "unsubscribed" a7 "channel" a1 "a" a4 "code" a9 "forbidden" a7 "message" a1 "m"',
      ),
    );
    expect(encode({ type: "closing", code: 1012, reason: "r", reconnect: false })).toEqual(
      bytesOf('84 a4 "type" a7 "closing" a4 "code" cd 03 f4 a6 "reason" a1 "r" a9 "reconnect" c2'),
    );
    expect(
      encode({
        type: "welcome",
        node: "n",
        connection: "c",
        session: "s",
        resume: "r",
        heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
        limits: { frameBytes: 65_536, channels: 100, messagesPerSecond: 200, bytesPerSecond: 5_000_000_000 },
        authenticate: true,
      }),
    ).toEqual(
      bytesOf(
        '88 a4 "type" a7 "welcome" a4 "node" a1 "n" aa "connection" a1 "c" a7 "session" a1 "s" a6 "resume" a1 "r" ' +
          'a9 "heartbeat" 82 aa "intervalMs" cd 75 30 a9 "timeoutMs" cd 27 10 ' +
          'a6 "limits" 84 aa "frameBytes" ce 00 01 00 00 a8 "channels" 64 b1 "messagesPerSecond" cc c8 ' +
          'ae "bytesPerSecond" cf 00 00 00 01 2a 05 f2 00 ac "authenticate" c3',
      ),
    );
  });
});
