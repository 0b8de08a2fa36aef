import { Packr } from "msgpackr";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { json } from "../../../src/client/index.js";
import { fromBase64, toBase64 } from "../../../src/client/codec-json.js";
import { msgpack } from "../../../src/client/codec-msgpack.js";
import { connected, rejection, setUp, until } from "./harness.js";

const plain = new Packr({ useRecords: false, variableMapSize: true });
const bytes = new Uint8Array([0, 1, 127, 128, 255]);

describe("the JSON codec", () => {
  it("sends bytes as base64 in a field of their own", () => {
    const frame = json.encode({ action: "send", id: 1, channel: "room", content: bytes });
    expect(frame).toBe('{"action":"send","id":1,"channel":"room","contentBase64":"AAF/gP8="}');
  });

  it("reads any bytes that it wrote, also more than fit one call", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (value) => {
        expect(toBase64(value)).toBe(Buffer.from(value).toString("base64"));
        expect(fromBase64(toBase64(value))).toEqual(new Uint8Array(value));
      }),
    );
    const large = Uint8Array.from({ length: 100_000 }, (_, n) => n % 251);
    expect(fromBase64(toBase64(large))).toEqual(large);
  });
});

describe("the MessagePack codec", () => {
  it("writes a plain map, byte for byte", () => {
    const frame = msgpack.encode({ action: "send", id: 1, channel: "a", content: bytes });
    expect(Buffer.from(frame).toString("hex")).toBe(
      "84" + // a map of 4
        "a6616374696f6e" + // action
        "a473656e64" + // send
        "a26964" + // id
        "01" +
        "a76368616e6e656c" + // channel
        "a161" +
        "a7636f6e74656e74" + // content
        "c40500017f80ff", // bin 8 of 5 bytes
    );
  });

  it("says what JSON says: no undefined, no extension for dates", () => {
    const content = { gone: undefined, at: new Date(0) };
    const command = { action: "send", id: 1, channel: "a", content } as const;
    const frame = msgpack.encode(command);
    expect(plain.unpack(frame as Uint8Array)).toEqual(JSON.parse(json.encode(command) as string));
  });

  it("gives every frame its own memory", () => {
    const first = msgpack.encode({ action: "send", id: 1, channel: "a", content: "first" });
    msgpack.encode({ action: "send", id: 2, channel: "a", content: "other" });
    expect(plain.unpack(first as Uint8Array)).toMatchObject({ content: "first" });
  });

  it("refuses text", () => {
    expect(() => msgpack.decode("{}")).toThrow("text frame");
  });
});

describe.each([
  { name: "json", codec: json, sent: { type: "message", channel: "room", contentBase64: "AAF/gP8=" } },
  {
    name: "msgpack",
    codec: msgpack,
    sent: { type: "message", channel: "room", content: Buffer.from(bytes) },
  },
])("a connection that speaks $name", ({ name, codec, sent }) => {
  it("hands bytes to handlers as a Uint8Array", async () => {
    const setup = await setUp({ codec });
    const heard: unknown[] = [];
    await setup.client.subscribe("room", (message) => heard.push(message)).ready;
    setup.server.last.send(sent);
    setup.server.last.send({ type: "message", channel: "room", content: ["text", 1.5, null] });
    await until(() => heard.length === 2);
    // Strictly: a Buffer would be equal otherwise.
    expect(heard).toStrictEqual([
      { type: "message", channel: "room", content: bytes },
      { type: "message", channel: "room", content: ["text", 1.5, null] },
    ]);
    expect(setup.server.last.subprotocol).toBe(`starling.v1.${name}`);
  });

  it("sends bytes", async () => {
    const setup = await setUp({ codec });
    await connected(setup);
    await setup.client.publish("room", bytes, { event: "raw" });
    const { contentBase64, content } = setup.server.last.commands[0]!;
    const arrived = name === "json" ? Buffer.from(contentBase64 as string, "base64") : (content as Buffer);
    expect(Buffer.compare(arrived, bytes)).toBe(0);
  });

  it.each<[string, ArrayBuffer | ArrayBufferView]>([
    ["an ArrayBuffer", bytes.slice().buffer],
    ["a DataView", new DataView(Uint8Array.of(9, ...bytes, 9).buffer, 1, bytes.length)],
    ["a part of a Buffer", Buffer.from([9, ...bytes, 9]).subarray(1, -1)],
    ["a Uint8ClampedArray", new Uint8ClampedArray(bytes)],
    ["another view", new Int16Array(Uint8Array.of(...bytes, 7).buffer)],
  ])("sends the bytes of %s", async (_what, content) => {
    const setup = await setUp({ codec });
    await connected(setup);
    await setup.client.publish("room", content);
    const sent = setup.server.last.commands[0]!;
    const arrived =
      name === "json" ? Buffer.from(sent["contentBase64"] as string, "base64") : (sent["content"] as Buffer);
    expect([...arrived.subarray(0, bytes.length)]).toEqual([...bytes]);
    expect(arrived).toHaveLength(content.byteLength);
  });

  const itself: { list: unknown[] } = { list: [] };
  itself.list.push({ itself });
  it.each<[unknown, string]>([
    [undefined, "content is undefined"],
    [NaN, "content is NaN"],
    [{ a: [1, -Infinity] }, "content.a[1] is -Infinity"],
    [1n, "content is a bigint"],
    [() => 1, "content is a function"],
    [{ a: { b: () => 1 } }, "content.a.b is a function"],
    [Symbol("s"), "content is a symbol"],
    [[1, undefined], "content[1] is undefined"],
    [new Map([["a", 1]]), "content is a Map"],
    [{ a: new Set([1]) }, "content.a is a Set"],
    [new Blob(["x"]), "content is a Blob"],
    [[Promise.resolve(1)], "content[0] is a Promise"],
    [{ error: new Error("x") }, "content.error is an Error"],
    [/x/, "content is a RegExp"],
    [new Date(NaN), "content is a Date that has no JSON"],
    [{ file: bytes }, "content.file is a Uint8Array inside other content"],
    [[Buffer.from("x")], "content[0] is a Uint8Array inside other content"],
    [{ file: new ArrayBuffer(1) }, "content.file is an ArrayBuffer inside other content"],
    [{ toJSON: () => ({ file: bytes }) }, "content.file is a Uint8Array inside other content"],
    [itself, "content.list[0].itself is an object that holds itself"],
  ])("refuses %s by name, and sends nothing", async (content, problem) => {
    const setup = await setUp({ codec });
    await connected(setup);
    expect(await rejection(setup.client.publish("room", content))).toMatchObject({
      code: "bad_request",
      sent: false,
      message: `publish to "room": ${problem}: give what JSON can say, or bytes alone`,
    });
    await setup.client.ping();
    expect(setup.server.last.actions("send")).toEqual([]);
  });

  it("sends what JSON says of everything else", async () => {
    class Point {
      constructor(
        readonly x: number,
        readonly y: number | undefined,
      ) {}
    }
    const shared = { a: 1 };
    const content = {
      gone: undefined,
      at: new Date(0),
      point: new Point(-0.5, undefined),
      url: new URL("ws://x/"),
      bare: Object.assign(Object.create(null) as object, { n: null }),
      twice: [shared, shared],
      text: "é😀\u0000\\ud800",
    };
    const setup = await setUp({ codec });
    await connected(setup);
    await setup.client.publish("room", content);
    expect(setup.server.last.commands[0]!["content"]).toEqual(JSON.parse(JSON.stringify(content)));
  });

  it("sends half a surrogate pair as its encoding can", async () => {
    const setup = await setUp({ codec });
    await connected(setup);
    await setup.client.publish("room", { "\udc00": "a\ud800b" });
    const [key, text] = name === "json" ? ["\udc00", "a\ud800b"] : ["\ufffd", "a\ufffdb"];
    expect(setup.server.last.commands[0]!["content"]).toEqual({ [key]: text });
  });
});
