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
      body: matching(/^127\.0\.0\.1 holds/),
    });
  });

  it("counts what the trusted proxy added, not what the client wrote before it", async () => {
    const node = await startTestNode({ maxConnectionsPerIp: 1, clientAddressHops: 1 });
    const client = await node.client(from("192.0.2.1"));
    await node.client(from("192.0.2.2"));
    for (const forged of ["192.0.2.9", "127.0.0.1", "unknown"]) {
      expect(await refusal(node.wsUrl, from(forged, "192.0.2.1"))).toMatchObject({
        status: 429,
        body: matching(/^192\.0\.2\.1 holds/),
      });
    }
    // The place is given back under the same address.
    client.close(1000);
    await client.closed();
    await node.client(from("198.51.100.3", "192.0.2.1"));
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
    expect(await refusal(wary.wsUrl, from("192.0.2.2"))).toMatchObject({ body: matching(/^127\.0\.0\.1/) });
  });
});
