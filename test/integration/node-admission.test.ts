import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, startTestNode, until } from "../support/nodes.js";
import { RawClient, refusal } from "../support/raw-client.js";

afterEach(cleanUp);

const REFUSED = 'starling_rejects_total{reason="upgrade_rate"}';

describe("a storm of newcomers", () => {
  it("beyond the rate gets 429 with a time to come back, is counted, and is taken later", async () => {
    const node = await startTestNode({ upgradeRate: 1, upgradeBurst: 3 });
    for (let i = 0; i < 3; i++) await node.client();
    const refused = await refusal(node.wsUrl);
    expect(refused).toMatchObject({
      status: 429,
      body: "this node takes 1 newcomers a second (burst 3), and more are here now\n",
    });
    expect(refused.headers["retry-after"]).toBe("1");
    expect(await node.metric(REFUSED)).toBe(1);
    expect(await node.metric("starling_connections")).toBe(3);
    await until("taken", () => node.client().catch(() => undefined));
  });

  it("is let in piece by piece, and those who are connected are served meanwhile", async () => {
    const node = await startTestNode({ upgradeRate: 50, upgradeBurst: 10 });
    const inside = await node.client();
    await inside.do("subscribe", { channel: "a" });
    const startedAtMs = performance.now();
    let refused = 0;
    /** As a client with backoff: until it is in. */
    const come = async (): Promise<void> => {
      for (;;) {
        try {
          await RawClient.open(node.wsUrl);
          return;
        } catch (error) {
          expect(String(error)).toMatch(/429/);
          refused++;
          await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 200));
        }
      }
    };
    const storm = Promise.all(Array.from({ length: 60 }, come));
    for (let i = 0; i < 20; i++) await inside.do("send", { channel: "a", content: i });
    expect(await inside.contents("a", 20)).toHaveLength(20);
    await storm;
    // Nine at once and 51 at 50 a second: a bound that a slow machine only makes truer.
    expect(performance.now() - startedAtMs).toBeGreaterThan(950);
    expect(refused).toBeGreaterThan(0);
    expect(await node.metric(REFUSED)).toBe(refused);
    expect(await node.metric("starling_connections")).toBe(61);
  });

  it("has no limit where the rate is 0", async () => {
    const node = await startTestNode({ upgradeRate: 0, upgradeBurst: 1 });
    await Promise.all(Array.from({ length: 50 }, () => node.client()));
    expect(await node.metric(REFUSED)).toBe(0);
  });
});
