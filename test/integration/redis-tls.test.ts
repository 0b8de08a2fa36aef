/** TLS to Redis, with certificates made here, on real servers. */

import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import type { Config } from "../../src/config.js";
import { eventually } from "../support/eventually.js";
import { cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";
import { NAME, createCertificates, tlsArgs, type Certificates } from "../support/redis-certificates.js";
import { startCluster } from "../support/redis-cluster.js";
import { startSentinels } from "../support/redis-sentinel.js";
import { freePort, startRedis, type RedisServer } from "../support/redis-server.js";

let certificates: Certificates;
let run = 0;
const started: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  certificates = await createCertificates();
});
afterEach(cleanUp);
afterAll(async () => {
  await Promise.all(started.map((server) => server.stop()));
  await certificates.remove();
});

interface TlsServer {
  readonly server: RedisServer;
  readonly url: string;
}

async function startTls(of: "byAddress" | "byName", ...args: string[]): Promise<TlsServer> {
  const port = await freePort();
  const server = await startRedis({ args: [...tlsArgs(port, certificates, certificates[of]), ...args] });
  started.push(server);
  return { server, url: `rediss://127.0.0.1:${port}` };
}

async function start(options: Partial<Config>): Promise<InProcessNode> {
  return startTestNode({
    redisPrefix: `tls${run++}:`,
    redisCommandTimeoutMs: 1_000,
    busProbeIntervalMs: 200,
    busProbeTimeoutMs: 1_000,
    ...options,
  });
}

/** Two nodes of these options hear each other, with history too. */
async function expectFleet(options: Partial<Config>): Promise<void> {
  const fleet = { redisPrefix: `tls${run++}:`, ...options };
  const [here, there] = [await start(fleet), await start(fleet)];
  const [reader, writer] = [await here.client(), await there.client()];
  for (const channel of ["plain", "chat:kept"]) {
    await reader.do("subscribe", { channel });
    await writer.do("send", { channel, content: "over TLS" });
    expect(await reader.contents(channel, 1)).toEqual(["over TLS"]);
  }
  await until("registered", async () => (await here.totals()).connections === 2);
  await Promise.all([here.stop(), there.stop()]);
}

describe("one server whose certificate is of an authority of one's own", { timeout: 30_000 }, () => {
  let tls: TlsServer;
  beforeAll(async () => {
    tls = await startTls("byAddress");
  });

  it("serves a fleet that names the authority, by TLS alone", async () => {
    await expectFleet({ redis: tls.url, redisTlsCaFile: certificates.ca });
    const clients = (await tls.server.client().call("CLIENT", "LIST")) as string;
    expect(clients).not.toContain("name=starling");
  });

  it("is refused by a node that names none, with what to do", async () => {
    await expect(start({ redis: tls.url })).rejects.toThrow(
      /cannot reach Redis at 127\.0\.0\.1:\d+: .*certificate.*; give the certificate of its authority by --redis-tls-ca-file/,
    );
  });

  it("is refused by a node that names another authority", async () => {
    await expect(start({ redis: tls.url, redisTlsCaFile: certificates.otherCa })).rejects.toThrow(
      /certificate.*; give the certificate of its authority by --redis-tls-ca-file/,
    );
  });

  it("is refused under a name that the certificate does not have", async () => {
    await expect(
      start({ redis: tls.url, redisTlsCaFile: certificates.ca, redisTlsServerName: "elsewhere.test" }),
    ).rejects.toThrow(
      /elsewhere\.test.*; the certificate is for another name: give it by --redis-tls-server-name/s,
    );
  });

  it("is not spoken to without TLS: a node that tries is told in time", async () => {
    await expect(start({ redis: tls.url.replace("rediss", "redis") })).rejects.toThrow(
      /cannot reach Redis at 127\.0\.0\.1:\d+: .*; it closed the connection: use rediss/,
    );
  });

  it("that speaks none is refused by a node that wants it", async () => {
    await expect(start({ redis: tls.server.url.replace("redis:", "rediss:") })).rejects.toThrow(
      /use redis instead of rediss if that port has no TLS/,
    );
  });

  it("is reconnected to by TLS after a cut", async () => {
    const node = await start({ redis: tls.url, redisTlsCaFile: certificates.ca });
    const client = await node.client();
    await client.do("subscribe", { channel: "room" });
    await tls.server.client().call("CLIENT", "KILL", "TYPE", "pubsub");
    await until(
      "made again",
      async () =>
        (await node.metric("starling_bridge_reconnects_total")) === 1 && (await node.reasons()).length === 0,
    );
    await client.do("send", { channel: "room", content: "again" });
    expect(await client.contents("room", 1)).toEqual(["again"]);
  });
});

describe("a server whose certificate names another host than its address", { timeout: 30_000 }, () => {
  let tls: TlsServer;
  beforeAll(async () => {
    tls = await startTls("byName");
  });

  it("is refused by its address, with what to do", async () => {
    await expect(start({ redis: tls.url, redisTlsCaFile: certificates.ca })).rejects.toThrow(
      /altnames.*; the certificate is for another name: give it by --redis-tls-server-name/s,
    );
  });

  it("serves a fleet that is told the name", async () => {
    await expectFleet({ redis: tls.url, redisTlsCaFile: certificates.ca, redisTlsServerName: NAME });
  });
});

describe("a server that asks for a certificate", { timeout: 30_000 }, () => {
  let tls: TlsServer;
  beforeAll(async () => {
    tls = await startTls("byAddress", "--tls-auth-clients", "yes");
  });

  it("serves a fleet that has one", async () => {
    await expectFleet({
      redis: tls.url,
      redisTlsCaFile: certificates.ca,
      redisTlsCertFile: certificates.client.cert,
      redisTlsKeyFile: certificates.client.key,
    });
  });

  it("refuses a node without one, which is told what to do", async () => {
    await expect(start({ redis: tls.url, redisTlsCaFile: certificates.ca })).rejects.toThrow(
      /cannot reach Redis at .*; .*--redis-tls-cert-file/s,
    );
  });
});

describe("files that are none", () => {
  it("end the start with the option's name", async () => {
    await expect(start({ redis: "rediss://127.0.0.1:1", redisTlsCaFile: "/nowhere/ca.pem" })).rejects.toThrow(
      /redisTlsCaFile cannot be read: .*ENOENT.*\/nowhere\/ca\.pem/,
    );
    const path = join(tmpdir(), `starling-no-pem-${process.pid}`);
    await writeFile(path, "not a certificate");
    await expect(start({ redis: "rediss://127.0.0.1:1", redisTlsCaFile: path })).rejects.toThrow(
      `redisTlsCaFile is not a PEM file: ${path}`,
    );
  });
});

describe("TLS beyond one server", { timeout: 60_000 }, () => {
  const options = (): Partial<Config> => ({
    redisTlsCaFile: certificates.ca,
    redisTlsServerName: NAME,
  });

  it("goes to every master of a Cluster", async () => {
    const cluster = await startCluster({ tls: certificates });
    started.push(cluster);
    await expectFleet({ redis: cluster.url, busShards: 4, ...options() });
    await expect(start({ redis: cluster.url, redisTlsCaFile: certificates.otherCa })).rejects.toThrow(
      /certificate.*; give the certificate of its authority by --redis-tls-ca-file/,
    );
  });

  it("goes to Sentinels, and to the master that they name, before and after a failover", async () => {
    const setup = await startSentinels({ tls: certificates });
    started.push(setup);
    await expectFleet({ redis: setup.url, ...options() });
    const node = await start({ redis: setup.url, ...options() });
    const client = await node.client();
    await setup.failover();
    await setup.promoted(setup.servers[1]);
    await eventually(async () => {
      expect(await node.metric("starling_bridge_reconnects_total")).toBeGreaterThanOrEqual(1);
      expect(await node.reasons()).toEqual([]);
    }, 30_000);
    await client.do("subscribe", { channel: "room" });
    await client.do("send", { channel: "room", content: "over" });
    expect(await client.contents("room", 1)).toEqual(["over"]);
    await expect(start({ redis: setup.url, redisTlsCaFile: certificates.otherCa })).rejects.toThrow(
      /certificate.*; give the certificate of its authority by --redis-tls-ca-file/,
    );
  });
});
