import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, JWT_SECRET, startTestNode, token, until } from "../support/nodes.js";
import { RawClient, refusal } from "../support/raw-client.js";

afterEach(cleanUp);

const REFUSED = 'starling_rejects_total{reason="upgrade_rate"}';

describe("a storm of newcomers", () => {
  it("beyond the rate gets 429 with a time to come back, is counted, and is taken later", async () => {
    const node = await startTestNode({ upgradeRate: 1, upgradeBurst: 3 });
    for (let i = 1; i <= 3; i++) await node.client({ localAddress: `127.0.0.${i}` });
    const refused = await refusal(node.wsUrl);
    expect(refused).toMatchObject({
      status: 429,
      body: "connection rate limit reached (upgradeRate 1, upgradeBurst 3)\n",
    });
    expect(refused.headers["retry-after"]).toBe("1");
    expect(await node.metric(REFUSED)).toBe(1);
    expect(await node.metric("starling_connections")).toBe(3);
    await until("taken", () => node.client().catch(() => undefined));
  });

  it("is let in piece by piece, and those who are connected are served meanwhile", async () => {
    const node = await startTestNode({ upgradeRate: 20, upgradeBurst: 10, sharePerIpPercent: 100 });
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
    // Nine at once and 51 at 20 a second: a bound that a slow machine only makes truer.
    expect(performance.now() - startedAtMs).toBeGreaterThan(2500);
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

describe("one address that floods a node with upgrades", () => {
  it("leaves the others their places", async () => {
    const node = await startTestNode({ upgradeRate: 50, upgradeBurst: 20 });
    let flooding = true;
    let taken = 0;
    const flood = async (): Promise<void> => {
      while (flooding) {
        await RawClient.open(node.wsUrl, { localAddress: "127.0.0.2" }).then(
          (client) => {
            taken++;
            client.terminate();
          },
          (error: unknown) => expect(String(error)).toMatch(/429/),
        );
      }
    };
    const floods = Promise.all(Array.from({ length: 8 }, flood));
    const refusedOnce = 'starling_rejects_total{reason="upgrade_rate_ip"}';
    await until("the flood is held to its share", async () => (await node.metric(refusedOnce)) > 0);
    const refusedBefore = await node.metric(refusedOnce);
    // Thirty others, each once and none twice, no faster than the node takes all.
    for (let i = 0; i < 30; i++) {
      await node.client({ localAddress: `127.0.1.${i + 1}` });
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    flooding = false;
    await floods;
    expect(taken).toBeGreaterThan(0);
    expect(await node.metric(REFUSED)).toBe(0);
    expect(await node.metric(refusedOnce)).toBeGreaterThan(refusedBefore);
  });
});

describe("connections that do not authenticate", () => {
  const options = { jwtSecret: JWT_SECRET, maxUnauthenticated: 10, sharePerIpPercent: 20 };
  const from = (address: string) => ({ localAddress: address });

  it("of one address leave the others their places", async () => {
    const node = await startTestNode(options);
    for (let i = 0; i < 7; i++) await node.client(from("127.0.0.2"));
    const refused = await refusal(node.wsUrl, from("127.0.0.2"));
    expect(refused).toMatchObject({
      status: 429,
      body: "unauthenticated connection limit for 127.0.0.2 reached (2, by sharePerIpPercent): authenticate those first\n",
    });
    expect(refused.headers["retry-after"]).toBe("1");
    expect(await node.metric("starling_unauthenticated_connections")).toBe(7);
    const other = await node.client(from("127.0.0.3"));
    await other.do("connect", { token: await token({ sub: "ann" }) });
    expect(await node.metric("starling_unauthenticated_connections")).toBe(7);
    expect(await node.metric('starling_rejects_total{reason="unauthenticated_ip"}')).toBe(1);
  });

  it("of many addresses push each other out, and nobody who authenticates", async () => {
    const node = await startTestNode(options);
    const user = await node.client({ path: `/?token=${await token({ sub: "ann" })}` });
    await user.do("ping");
    const clients = [];
    for (let i = 1; i <= 14; i++) clients.push(await node.client(from(`127.0.0.${i}`)));
    for (const client of clients.slice(0, 4)) {
      expect(await client.closed()).toEqual({
        code: 4003,
        reason: "unauthenticated connection limit reached (maxUnauthenticated 10)",
      });
    }
    await clients[4]!.do("connect", { token: await token({ sub: "bob" }) });
    await user.do("ping");
    expect(await node.metric("starling_unauthenticated_connections")).toBe(9);
    expect(await node.metric('starling_rejects_total{reason="unauthenticated_full"}')).toBe(4);
    for (const client of clients.slice(4)) client.terminate();
    await until("forgotten", async () => (await node.metric("starling_unauthenticated_connections")) === 0);
    expect(await node.metric("starling_limited_addresses")).toBe(0);
  });

  it("are not limited where nobody has to", async () => {
    const node = await startTestNode({ ...options, jwtSecret: undefined });
    for (let i = 0; i < 20; i++) await node.client();
    expect(await node.metric("starling_unauthenticated_connections")).toBe(0);
  });
});
