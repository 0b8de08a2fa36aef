import { describe, expect, it } from "vitest";
import { didYouMean, suggest } from "../../../src/core/suggest.js";
import { ACTIONS } from "../../../src/protocols/starling/messages.js";

describe("a suggestion", () => {
  it("is the nearest candidate, and only one that is near", () => {
    expect(suggest("subscribed", ACTIONS)).toBe("subscribe");
    expect(suggest("presence_stat", ACTIONS)).toBe("presence_stats");
    expect(suggest("teleport", ACTIONS)).toBeUndefined();
    expect(suggest("x", [])).toBeUndefined();
    expect(suggest("/v1", ["/", "/v1/totals"])).toBeUndefined();
  });

  it("is a sentence's end, or what was given for the lack of one", () => {
    expect(didYouMean("prot", ["host", "port"], "see --help")).toBe("did you mean port?");
    expect(didYouMean("teleport", ["host", "port"], "see --help")).toBe("see --help");
  });

  it("is not looked for where a peer sends a name longer than any of ours", () => {
    const name = "subscribe".padEnd(60_000, "x");
    suggest(name, ACTIONS);
    const before = process.cpuUsage();
    for (let i = 0; i < 1000; i++) suggest(name, ACTIONS);
    const { user, system } = process.cpuUsage(before);
    // Compared in full each takes 15 ms: 15 s for these.
    expect((user + system) / 1000).toBeLessThan(1000);
  });
});
