import { afterEach, describe, expect, it } from "vitest";
import { request } from "node:http";
import { matching } from "../support/matching.js";
import { cleanUp, startTestNode } from "../support/nodes.js";
import { refusal } from "../support/raw-client.js";

afterEach(cleanUp);

const from = (...addresses: string[]) => ({ headers: { "x-forwarded-for": addresses.join(", ") } });

describe("the number of connections from one address", () => {
  it("counts the socket's own without proxies, whatever the header says", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 1 });
    await node.client(from("192.0.2.1"));
    expect(await refusal(node.wsUrl, from("192.0.2.2"))).toMatchObject({
      status: 429,
      body: "connection limit for 127.0.0.1 reached (maxConnectionsPerIp 1)\n",
    });
  });

  it("counts what the trusted proxy added, not what the client wrote before it", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 1, clientAddressHops: 1 });
    const client = await node.client(from("192.0.2.1"));
    await node.client(from("192.0.2.2"));
    for (const forged of ["192.0.2.9", "127.0.0.1", "unknown"]) {
      expect(await refusal(node.wsUrl, from(forged, "192.0.2.1"))).toMatchObject({
        status: 429,
        body: "connection limit for 192.0.2.1 reached (maxConnectionsPerIp 1)\n",
      });
    }
    // The place is given back under the same address.
    client.close(1000);
    await client.closed();
    await node.client(from("198.51.100.3", "192.0.2.1"));
  });

  it("counts an address once however it is spelled, and a /64 of IPv6 as one", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 3, clientAddressHops: 1 });
    const spellings = [
      "2001:db8:1:2::a",
      "2001:DB8:1:2::A",
      "2001:0db8:0001:0002:0000:0000:0000:000a",
      "2001:db8:1:2:0:0:0:a",
      "2001:db8:1:2::0.0.0.10",
      "[2001:db8:1:2::a]:443",
      "2001:db8:1:2:ffff:ffff:ffff:ffff",
    ];
    for (const address of spellings.slice(0, 3)) await node.client(from(address));
    for (const address of spellings) {
      expect(await refusal(node.wsUrl, from(address)), address).toMatchObject({
        status: 429,
        body: "connection limit for 2001:db8:1:2::/64 reached (maxConnectionsPerIp 3)\n",
      });
    }
    await node.client(from("2001:db8:1:3::a"));
    for (const address of ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"])
      await node.client(from(address));
    expect(await refusal(node.wsUrl, from("[::FFFF:192.0.2.1]"))).toMatchObject({ status: 429 });
    expect(await node.metric("starling_limited_addresses")).toBe(3);
  });

  it("counts IPv4 as IPv4 where the node listens on IPv6 too", async () => {
    const node = await startTestNode({ host: "::", maxConnectionsPerIp: 1, allowOpen: true });
    const { port } = new URL(node.wsUrl);
    await node.client();
    expect(await refusal(`ws://127.0.0.1:${port}`)).toMatchObject({
      status: 429,
      body: "connection limit for 127.0.0.1 reached (maxConnectionsPerIp 1)\n",
    });
  });

  it("reads every header of that name, in order: a proxy may add its own behind the client's", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 1, clientAddressHops: 1 });
    await node.client(from("192.0.2.1"));
    const { hostname, port } = new URL(node.wsUrl);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request({
        hostname,
        port,
        headers: {
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
          "sec-websocket-version": "13",
          "x-forwarded-for": ["192.0.2.9", "192.0.2.1"],
        },
      })
        .on("response", (response) => {
          response.resume();
          resolve(response.statusCode);
        })
        .on("upgrade", (response, socket) => {
          socket.destroy();
          resolve(response.statusCode);
        })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(429);
  });

  it("believes nobody but the named proxies", async () => {
    const options = { maxConnectionsPerIp: 1, clientAddressHops: 1 };
    const [trusting, wary] = [
      await startTestNode({ ...options, trustedProxies: ["127.0.0.0/8"] }),
      await startTestNode({ ...options, trustedProxies: ["10.0.0.0/8"] }),
    ];
    for (const address of ["192.0.2.1", "192.0.2.2"]) await trusting.client(from(address));
    await wary.client(from("192.0.2.1"));
    expect(await refusal(wary.wsUrl, from("192.0.2.2"))).toMatchObject({ body: matching(/127\.0\.0\.1/) });
  });
});
