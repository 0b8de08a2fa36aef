import { describe, expect, it } from "vitest";
import { Framings } from "../../../src/core/framings.js";
import { Stats } from "../../../src/core/stats.js";
import { starlingProtocol } from "../../../src/protocols/starling/protocol.js";

const topics = { publish: () => undefined };

describe("protocols of one node", () => {
  it("have names of their own, which are labels of metrics", () => {
    const twice = [starlingProtocol, { ...starlingProtocol, framings: [] }];
    expect(() => new Framings(twice, topics, new Stats())).toThrow("two protocols are called starling");
  });

  it("have topics of their own", () => {
    const twice = [starlingProtocol, { ...starlingProtocol, name: "other" }];
    expect(() => new Framings(twice, topics, new Stats())).toThrow(/which another framing uses/);
  });
});
