/** Control messages between versions: written as ever, read with whatever a later version adds. */

import fc from "fast-check";
import { pack } from "msgpackr";
import { describe, expect, it } from "vitest";

import type { ControlAnswer, ControlQuestion } from "../../../../src/core/control.js";
import {
  decodeControl,
  encodeControl,
  type ControlMessage,
} from "../../../../src/redis/control/control-messages.js";
import { COMMANDS } from "../../../contract/control.js";

const QUESTIONS: readonly ControlQuestion[] = [
  { kind: "channels", app: "main", prefix: "r", limit: 10 },
  { kind: "connections", app: "main", user: "42" },
  { kind: "readiness" },
  { kind: "recorded" },
];
const ANSWERS: readonly ControlAnswer[] = [
  { kind: "channels", counts: { room: 2 } },
  { kind: "readiness", ready: true, upgradeRate: 5 },
  { kind: "recorded" },
  {
    kind: "connections",
    connections: [{ connection: "c1", userId: null, channels: ["room"], connectedAt: 1, lastActivity: 2 }],
  },
];
/** That the version before does not know. */
const NEWER: readonly ControlMessage[] = [
  {
    ...{ kind: "ask", id: "i", node: "n1" },
    question: { kind: "subscribers", app: "main", channels: ["room", "__proto__"] },
  },
  { kind: "answer", id: "i", node: "n1", answer: { kind: "subscribers", counts: [2, 0] } },
];
const MESSAGES: readonly ControlMessage[] = [
  ...COMMANDS.map((command) => ({ kind: "command", command }) as const),
  ...QUESTIONS.map((question) => ({ kind: "ask", id: "i", node: "n1", question }) as const),
  ...ANSWERS.map((answer) => ({ kind: "answer", id: "i", node: "n1", answer }) as const),
];

/** Of the version before, in the order of MESSAGES. */
const GOLDEN = [
  "9301a7636f6d6d616e64de0005a46b696e64aa646973636f6e6e656374a3617070a46d61696ea6746172676574de0001a475736572" +
    "a5c3bc203432a6726561736f6ea4676f6e65a4636f6465cd1196",
  "9301a7636f6d6d616e64de0005a46b696e64aa646973636f6e6e656374a3617070a46d61696ea6746172676574de0001aa636f6e6e" +
    "656374696f6ea26331a4636f6465cd0fa6a6726561736f6eaa73757065727365646564",
  "9301a7636f6d6d616e64de0005a46b696e64aa646973636f6e6e656374a3617070a46d61696ea6746172676574de0001aa636f6e6e" +
    "656374696f6ea26331a6726561736f6ea0a4636f6465cd1196",
  "9301a7636f6d6d616e64de0004a46b696e64ab756e737562736372696265a3617070a46d61696ea6746172676574de0001a4757365" +
    "72a23432a76368616e6e656ca4726f6f6d",
  "9301a7636f6d6d616e64de0005a46b696e64a67065726d6974a3617070a46d61696ea6746172676574de0001aa636f6e6e65637469" +
    "6f6ea26331a86368616e6e656c7391a66e6577733a2aa77075626c69736890",
  "9301a7636f6d6d616e64de0004a46b696e64a67065726d6974a3617070a46d61696ea6746172676574de0001a475736572a23432a7" +
    "7075626c69736891a4726f6f6d",
  "9501a361736ba169a26e31de0004a46b696e64a86368616e6e656c73a3617070a46d61696ea6707265666978a172a56c696d69740a",
  "9501a361736ba169a26e31de0003a46b696e64ab636f6e6e656374696f6e73a3617070a46d61696ea475736572a23432",
  "9501a361736ba169a26e31de0001a46b696e64a972656164696e657373",
  "9501a361736ba169a26e31de0001a46b696e64a87265636f72646564",
  "9501a6616e73776572a169a26e31de0002a46b696e64a86368616e6e656c73a6636f756e7473de0001a4726f6f6d02",
  "9501a6616e73776572a169a26e31de0003a46b696e64a972656164696e657373a57265616479c3ab757067726164655261746505",
  "9501a6616e73776572a169a26e31de0001a46b696e64a87265636f72646564",
  "9501a6616e73776572a169a26e31de0002a46b696e64ab636f6e6e656374696f6e73ab636f6e6e656374696f6e7391de0005aa636f" +
    "6e6e656374696f6ea26331a6757365724964c0a86368616e6e656c7391a4726f6f6dab636f6e6e6563746564417401ac6c61737441" +
    "6374697669747902",
];

describe("control messages", () => {
  it("are written as nodes of the version before write and read them", () => {
    expect(MESSAGES.map((message) => encodeControl(message).toString("hex"))).toEqual(GOLDEN);
  });

  it("come back as they were", () => {
    for (const [i, message] of MESSAGES.entries()) {
      expect(decodeControl(Buffer.from(GOLDEN[i]!, "hex"))).toEqual(message);
    }
    for (const message of NEWER) expect(decodeControl(encodeControl(message))).toEqual(message);
  });

  it("of a kind that is unknown are refused by name, but questions and answers can be told", () => {
    const unknown = { kind: "hereafter", when: 1 };
    expect(() => decodeControl(pack([1, "shout", unknown]))).toThrow("message is of a kind that is unknown");
    expect(() => decodeControl(pack([1, "command", unknown]))).toThrow(
      "command is of a kind that is unknown",
    );
    expect(decodeControl(pack([1, "ask", "i", "n2", unknown]))).toEqual({
      kind: "ask",
      id: "i",
      node: "n2",
      question: { kind: "unknown" },
    });
    expect(decodeControl(pack([1, "answer", "i", "n2", unknown]))).toEqual({
      kind: "answer",
      id: "i",
      node: "n2",
      answer: { kind: "unknown" },
    });
  });
});

const unknownValue = fc.anything({
  maxDepth: 3,
  values: [
    fc.string({ unit: "grapheme", maxLength: 20 }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  ],
});
/** Names that no version has used. */
const unknownFields = fc.dictionary(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).map((name) => `later ${name}`),
  unknownValue,
  { maxKeys: 4 },
);

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** With more fields in each object that has named ones; the names of channels are no fields. */
function grown(value: unknown, added: Fields, name = ""): unknown {
  if (Array.isArray(value)) return value.map((each) => grown(each, added));
  if (!isFields(value) || name === "counts") return value;
  const entries = Object.entries(value).map(([key, field]) => [key, grown(field, added, key)] as const);
  return { ...Object.fromEntries(entries), ...added };
}

/** As written, apart from what MessagePack makes of it. */
function fieldsOf(message: ControlMessage): unknown[] {
  if (message.kind === "command") {
    const { command } = message;
    if (command.kind === "supersede") {
      const target = { connection: command.connection };
      return [1, "command", { kind: "disconnect", app: "main", target, code: 4006, reason: "superseded" }];
    }
    return [1, "command", JSON.parse(JSON.stringify(command))];
  }
  return [
    1,
    message.kind,
    message.id,
    message.node,
    message.kind === "ask" ? message.question : message.answer,
  ];
}

describe("what a later version adds to control messages", () => {
  it("changes nothing, wherever it stands", () => {
    const more = fc.array(unknownValue, { maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...MESSAGES), unknownFields, more, (message, added, behind) => {
        const [version, kind, ...rest] = fieldsOf(message);
        const later = pack([version, kind, ...rest.map((part) => grown(part, added)), ...behind]);
        expect(decodeControl(later)).toEqual(message);
      }),
    );
  });

  it("is refused by an error where it breaks what is known, whatever the bytes", () => {
    const edits = fc.array(
      fc.record({ at: fc.nat(300), byte: fc.integer({ min: 0, max: 255 }), cut: fc.nat(3) }),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(fc.constantFrom(...GOLDEN), edits, (golden, changes) => {
        let bytes: Buffer = Buffer.from(golden, "hex");
        for (const { at, byte, cut } of changes) {
          const place = at % bytes.length;
          bytes = Buffer.concat([bytes.subarray(0, place), Buffer.of(byte), bytes.subarray(place + cut)]);
        }
        try {
          expect(["command", "ask", "answer"]).toContain(decodeControl(bytes).kind);
        } catch (error) {
          expect(String(error)).toMatch(/is wrong|is unknown|at byte \d+/);
        }
      }),
      { numRuns: 3_000 },
    );
    for (const golden of GOLDEN) {
      const whole = Buffer.from(golden, "hex");
      for (let end = 0; end < whole.length; end++) {
        expect(() => decodeControl(whole.subarray(0, end))).toThrow(/is wrong|at byte \d+/);
      }
    }
  });

  it("costs no more than a walk over its bytes, however deep or many", () => {
    const started = performance.now();
    const deep = Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.of(1)]);
    const head = pack([1, "command", COMMANDS[0]]);
    const withMore = Buffer.concat([Buffer.of(0x94), head.subarray(1), deep]);
    expect(() => decodeControl(withMore)).toThrow(/at byte/);
    const many = { ...COMMANDS[0], later: Array.from({ length: 200_000 }, (_, i) => i) };
    expect(decodeControl(pack([1, "command", many]))).toEqual({ kind: "command", command: COMMANDS[0] });
    expect(performance.now() - started).toBeLessThan(30_000);
  });
});
