/** A real Cluster on loopback: masters that share the slots evenly, and replicas of the first of them. */

import { once } from "node:events";

import { eventually } from "./eventually.js";
import { tlsArgs, type Certificates } from "./redis-certificates.js";
import { freePort, startRedis, type RedisServer } from "./redis-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

const SLOTS = 16_384;
/** A master that does not answer for this long is voted down. */
const NODE_TIMEOUT_MS = 1_000;
const START_TIMEOUT_MS = 30_000;

export interface RedisCluster {
  /** For `--redis`. */
  readonly url: string;
  readonly masters: readonly Member[];
  /** Of the first master. */
  readonly replicas: readonly Member[];
  /** The server that has this slot now, as any that answers says. */
  ownerOf(slot: number): Promise<Member>;
  /** Gives a slot to another master, with the keys that are in it. */
  move(slot: number, to: Member): Promise<void>;
  stop(): Promise<void>;
}

export interface Member extends RedisServer {
  /** Where it speaks TLS, if it does. */
  readonly tlsPort: number | undefined;
  /** What clients and other members reach it through, where that was asked for. */
  readonly proxy: TcpProxy | undefined;
}

interface ClusterOptions {
  readonly masters?: number;
  readonly replicas?: number;
  readonly proxied?: boolean;
  /** Of the name alone: nodes of a Cluster are known by address. */
  readonly tls?: Certificates;
}

type SlotRange = [from: number, to: number, master: [host: string, port: number]];

export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { masters: masterCount = 3, replicas: replicaCount = 0, proxied = false, tls } = options;
  const servers = await Promise.all(
    Array.from({ length: masterCount + replicaCount }, () => startMember(proxied, tls)),
  );
  const masters = servers.slice(0, masterCount);
  const replicas = servers.slice(masterCount);
  const portOf = ({ proxy, port }: Member): number => proxy?.port ?? port;

  async function stop(): Promise<void> {
    await Promise.all(servers.map((server) => server.stop()));
    for (const { proxy } of servers) await proxy?.close();
  }

  async function ownerOf(slot: number): Promise<Member> {
    for (const server of servers) {
      const port = await ask(server, async (client) => {
        const ranges = (await client.call("CLUSTER", "SLOTS")) as SlotRange[];
        return ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][1];
      }).catch(() => undefined);
      const owner = servers.find((each) => portOf(each) === port);
      if (owner !== undefined) return owner;
    }
    throw new Error(`nobody knows who has slot ${slot}`);
  }

  try {
    await join(servers, masters, replicas);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url:
      (tls === undefined ? "redis+cluster://" : "rediss+cluster://") +
      servers.map((server) => `127.0.0.1:${server.tlsPort ?? portOf(server)}`).join(","),
    masters,
    replicas,
    ownerOf,
    async move(slot, to) {
      const [source, target] = [(await ownerOf(slot)).client(), to.client()];
      const [sourceId, targetId] = await Promise.all([source.cluster("MYID"), target.cluster("MYID")]);
      await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", sourceId);
      await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", targetId);
      const keys = (await source.call("CLUSTER", "GETKEYSINSLOT", slot, 10_000)) as string[];
      if (keys.length > 0) {
        await source.call("MIGRATE", "127.0.0.1", to.port, "", 0, 5_000, "KEYS", ...keys);
      }
      // The receiver first: else nobody has it for a moment.
      await target.call("CLUSTER", "SETSLOT", slot, "NODE", targetId);
      await source.call("CLUSTER", "SETSLOT", slot, "NODE", targetId);
    },
    stop,
  };
}

async function startMember(proxied: boolean, tls: Certificates | undefined): Promise<Member> {
  const busPort = await freePort();
  const proxy = proxied ? await startTcpProxy(0) : undefined;
  const tlsPort = tls === undefined ? undefined : await freePort();
  const server = await startRedis({
    args: [
      ...(tls === undefined ? [] : [...tlsArgs(tlsPort!, tls, tls.byName), "--tls-cluster", "yes"]),
      ...["--cluster-enabled", "yes", "--cluster-port", `${busPort}`],
      ...["--cluster-node-timeout", `${NODE_TIMEOUT_MS}`, "--cluster-replica-validity-factor", "0"],
      ...["--repl-diskless-sync-delay", "0"],
      ...(proxy === undefined ? [] : ["--cluster-announce-port", `${proxy.port}`]),
    ],
  });
  proxy?.retarget(server.port);
  return Object.assign(server, { proxy, tlsPort });
}

async function join(
  servers: readonly Member[],
  masters: readonly Member[],
  replicas: readonly Member[],
): Promise<void> {
  const [first] = masters as [Member];
  const nodes = (await ask(first, (client) => client.call("CLUSTER", "NODES"))) as string;
  const [, busPort] = /@(\d+)/.exec(nodes) ?? [];
  for (const [at, server] of servers.entries()) {
    await ask(server, async (client) => {
      await client.call("CLUSTER", "SET-CONFIG-EPOCH", at + 1);
      if (at > 0) await client.call("CLUSTER", "MEET", "127.0.0.1", first.port, busPort!);
      const share = SLOTS / masters.length;
      if (at < masters.length) {
        const [from, to] = [Math.round(at * share), Math.round((at + 1) * share) - 1];
        await client.call("CLUSTER", "ADDSLOTSRANGE", from, to);
      }
    });
  }
  const settled = (check: (info: string) => boolean): Promise<void> =>
    eventually(async () => {
      for (const server of servers) {
        const info = await ask(server, (client) => client.cluster("INFO"));
        if (!check(info)) throw new Error(`the Cluster is not formed:\n${info}`);
      }
    }, START_TIMEOUT_MS);
  await settled((info) => info.includes(`cluster_known_nodes:${servers.length}`));
  const id = await ask(first, (client) => client.cluster("MYID"));
  for (const replica of replicas) {
    await eventually(
      () => ask(replica, (client) => client.call("CLUSTER", "REPLICATE", id)),
      START_TIMEOUT_MS,
    );
    await eventually(async () => {
      const info = await ask(replica, (client) => client.info("replication"));
      if (!info.includes("master_link_status:up")) throw new Error(`no replica yet:\n${info}`);
    }, START_TIMEOUT_MS);
  }
  await settled((info) => info.includes("cluster_state:ok"));
}

async function ask<T>(
  server: RedisServer,
  question: (client: ReturnType<RedisServer["client"]>) => Promise<T>,
): Promise<T> {
  const client = server.client();
  try {
    if (client.status !== "ready") {
      await Promise.race([
        once(client, "ready"),
        once(client, "close").then(() => Promise.reject(new Error(`nothing answers at ${server.port}`))),
      ]);
    }
    return await question(client);
  } finally {
    client.disconnect();
  }
}
