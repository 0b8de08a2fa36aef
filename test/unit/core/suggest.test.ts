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

  it("is the name of which only the end is wrong, before others that are as near", () => {
    const variables = [
      "APP_KEY",
      "REDIS_FILE",
      "API_KEYS",
      "REDIS",
      "REDIS_PREFIX",
      "PORT",
      "JWT_SECRET",
    ].map((name) => `STARLING_${name}`);
    expect(suggest("STARLING_API_KEY", variables)).toBe("STARLING_API_KEYS");
    expect(suggest("STARLING_APP_KEYS", variables)).toBe("STARLING_APP_KEY");
    expect(suggest("STARLING_REDIS_URL", variables)).toBe("STARLING_REDIS");
    expect(suggest("STARLING_REDIS_PREFX", variables)).toBe("STARLING_REDIS_PREFIX");
    expect(suggest("redisUrl", ["redisPrefix", "redis", "port"])).toBe("redis");
    expect(suggest("--redis-url", ["--redis-prefix", "--redis", "--port"])).toBe("--redis");
    expect(suggest("ports", ["port", "host"])).toBe("port");
    expect(suggest("portal", ["por", "host"])).toBeUndefined();
  });

  it("does not count what all candidates begin with", () => {
    expect(suggest("STARLING_SECRET", ["STARLING_PORT", "STARLING_JWT_SECRET"])).toBeUndefined();
    expect(suggest("STARLIN_PORT", ["STARLING_PORT", "STARLING_HOST"])).toBe("STARLING_PORT");
    expect(suggest("STARLING_", ["STARLING_PORT", "STARLING_HOST"])).toBeUndefined();
    expect(suggest("por", ["port", "port"])).toBe("port");
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
