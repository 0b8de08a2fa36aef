import { describe, expect, it } from "vitest";
import { DEFAULT_RULES, rulesByNamespace, type ChannelRules } from "../../../src/core/channel-rules.js";

const withHistory = (size: number): ChannelRules => ({ ...DEFAULT_RULES, history: { size, ttlMs: 1000 } });

/** How much history channels have by these sizes, asked twice: the second answer is one that was kept. */
function sizes(
  namespaces: Readonly<Record<string, number>>,
  ...channels: string[]
): readonly (number | undefined)[] {
  const entries = Object.entries(namespaces);
  const rulesOf = rulesByNamespace(
    Object.fromEntries(entries.map(([name, size]) => [name, withHistory(size)])),
  );
  const read = (): (number | undefined)[] => channels.map((channel) => rulesOf(channel).history?.size);
  const first = read();
  expect(read()).toEqual(first);
  return first;
}

describe("rules of channels", () => {
  it("go by what stands before the first colon", () => {
    const found = sizes({ chat: 1 }, "chat:a", "chat:a:b", "chat", "chats:a", "a:chat", ":chat");
    expect(found).toEqual([1, 1, undefined, undefined, undefined, undefined]);
  });

  it("go by a prefix of the whole name, with a colon or without", () => {
    const found = sizes({ "private-*": 1, "b:c*": 2 }, "private-a", "private-", "private", "b:cd", "b:d");
    expect(found).toEqual([1, 1, undefined, 2, undefined]);
  });

  it("go by the longest prefix that fits, in whatever order they stand", () => {
    const channels = ["private-chat-1", "private-cha", "private-chat-vip-1"];
    expect(sizes({ "private-*": 1, "private-chat-*": 2, "private-chat-vip-*": 3 }, ...channels)).toEqual([
      2, 1, 3,
    ]);
    expect(sizes({ "private-chat-vip-*": 3, "private-chat-*": 2, "private-*": 1 }, ...channels)).toEqual([
      2, 1, 3,
    ]);
  });

  it("go by a prefix before a namespace, and by the namespace where no prefix fits", () => {
    expect(sizes({ chat: 1, "chat:vip-*": 2, "ch*": 3 }, "chat:a", "chat:vip-a")).toEqual([3, 2]);
    expect(sizes({ chat: 1, "chat:vip-*": 2 }, "chat:a", "chat:vip-a")).toEqual([1, 2]);
  });

  it("stay right beyond the channels that are remembered", () => {
    const rulesOf = rulesByNamespace({ "a*": withHistory(1), b: withHistory(2) });
    for (let i = 0; i < 10_000; i++) {
      expect(rulesOf(`a${i}`).history?.size).toBe(1);
      expect(rulesOf(`b:${i}`).history?.size).toBe(2);
      expect(rulesOf(`c${i}`)).toBe(DEFAULT_RULES);
    }
    expect(rulesOf("a0").history?.size).toBe(1);
  });
});
