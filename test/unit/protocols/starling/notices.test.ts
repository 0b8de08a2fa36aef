import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";

import type { ChannelNotice } from "../../../../src/core/notices.js";
import { jsonCodec } from "../../../../src/protocols/starling/json-codec.js";
import { msgpackCodec } from "../../../../src/protocols/starling/msgpack-codec.js";
import { channelMessage, messageOf } from "../../../../src/protocols/starling/notices.js";

const packr = new Packr({ useRecords: false, mapsAsObjects: false });
const DEEP = `${"[".repeat(64)}${"]".repeat(64)}`;

const asJson = (notice: ChannelNotice): string =>
  Buffer.from(jsonCodec.encode(channelMessage("room", notice)!)).toString();
const asMap = (notice: ChannelNotice): Map<string, unknown> =>
  packr.unpack(Buffer.from(msgpackCodec.encode(channelMessage("room", notice)!))) as Map<string, unknown>;

describe("members in messages of the native protocol", () => {
  it("show what they show as a value, beside what they had before", () => {
    const member = { connection: "a.1", user: "ann", info: '{"name":"Ann"}' };
    for (const kind of ["join", "update"] as const) {
      expect(asJson({ kind, member })).toBe(
        `{"type":"${kind}","channel":"room","connection":"a.1","user":"ann","info":{"name":"Ann"}}`,
      );
      expect([...asMap({ kind, member })]).toEqual([
        ["type", kind],
        ["channel", "room"],
        ["connection", "a.1"],
        ["user", "ann"],
        ["info", new Map([["name", "Ann"]])],
      ]);
    }
    expect(asJson({ kind: "update", member: { connection: "a.2", user: null } })).toBe(
      '{"type":"update","channel":"room","connection":"a.2"}',
    );
    expect(asJson({ kind: "leave", member: { connection: "a.2", user: "bob" } })).toBe(
      '{"type":"leave","channel":"room","connection":"a.2","user":"bob"}',
    );
  });

  it("show it in snapshots, to all and to one", () => {
    const first = [
      { connection: "a.1", user: "ann", info: "[1]" },
      { connection: "a.2", user: null },
    ] as const;
    const snapshot = {
      kind: "presence",
      members: [...first, { connection: "a.3", user: "beyond what an answer holds" }],
      first,
      connections: 2,
      users: 2,
    } as const;
    const text =
      '{"type":"presence","channel":"room","members":[{"connection":"a.1","user":"ann","info":[1]},' +
      '{"connection":"a.2"}],"connections":2,"users":2}';
    expect(asJson(snapshot)).toBe(text);
    expect(JSON.stringify(messageOf({ kind: "members", channel: "room", snapshot }))).toBe(text);
  });

  it.each([
    ['{"__proto__":{"polluted":1}}', new Map([["__proto__", new Map([["polluted", 1]])]])],
    [DEEP, JSON.parse(DEEP) as unknown],
    ["12345678901234567000", 12345678901234567000],
    ["-0", -0],
    ['"\\ud800 \\u0000"', "\ufffd \0"],
    ["false", false],
    ['""', ""],
  ])("show %s unharmed, in JSON and in MessagePack", (info, value) => {
    const notice = { kind: "join", member: { connection: "a.1", user: null, info } } as const;
    const shown = (JSON.parse(asJson(notice)) as { info: unknown }).info;
    expect(JSON.stringify(shown)).toBe(JSON.stringify(JSON.parse(info)));
    expect(asMap(notice).get("info")).toEqual(value);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it("show a number that JavaScript does not hold as nothing, rather than break the frame", () => {
    const notice = { kind: "join", member: { connection: "a.1", user: null, info: "[1e999]" } } as const;
    expect(asJson(notice)).toContain('"info":[null]');
    expect(asMap(notice).get("info")).toEqual([null]);
  });
});
