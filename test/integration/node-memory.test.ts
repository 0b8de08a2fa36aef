/** What V8 takes for what lives shortly is what the option says, also after much has outlived its collections. */

import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, spawnNode } from "../support/nodes.js";

afterEach(cleanUp);

const MIB = 1_048_576;
const HALVES = 2;
const CLIENTS = 300;

describe("the young generation of a node", () => {
  it.each([4 * MIB, 8 * MIB])("has %i bytes a half, and keeps them when many come", async (bytes) => {
    const node = await spawnNode({ youngGenerationBytes: bytes });
    const sizes = async (): Promise<number[]> => {
      const metrics = await node.metrics();
      const of = (space: string): number =>
        [...metrics].find(
          ([series]) =>
            series.startsWith("nodejs_heap_space_size_total_bytes") && series.includes(`space="${space}"`),
        )![1];
      return [of("new")];
    };
    const [before] = await sizes();
    expect(before).toBeGreaterThanOrEqual(bytes * HALVES);
    // V8 rounds up by pages.
    expect(before).toBeLessThanOrEqual(bytes * HALVES * 1.25);
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => node.client()));
    await Promise.all(clients.map((client) => client.do("subscribe", { channel: "room" })));
    const [first] = clients;
    for (let sent = 0; sent < 100; sent++)
      await first!.do("send", { channel: "room", content: "x".repeat(1_000) });
    expect(await sizes()).toEqual([before]);
  });
});
