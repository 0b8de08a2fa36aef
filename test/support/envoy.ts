/** Upgrades through Envoy: what answered, and which node it was. */

import type { IncomingHttpHeaders } from "node:http";
import { WebSocket, type ClientOptions } from "ws";
import type { Endpoint } from "../../src/cli/programs/envoy-config.js";
import type { TestNode } from "./nodes.js";

export interface Upgrade {
  /** 101: the socket is open. 0: the connection ended without an answer. */
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Of the node that took it; "" where none did. */
  readonly node: string;
  readonly socket: WebSocket;
}

const DEADLINE_MS = 20_000;

/**
 * Never rejects but where the welcome does not come.
 * @param query  behind the "?" of the URL; "" for none
 */
export function upgrade(url: string, query = "", options: ClientOptions = {}): Promise<Upgrade> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(query === "" ? url : `${url}/?${query}`, ["starling.v1.json"], {
      perMessageDeflate: false,
      handshakeTimeout: DEADLINE_MS,
      ...options,
    });
    let headers: IncomingHttpHeaders = {};
    let open = false;
    socket.on("upgrade", (response) => {
      open = true;
      headers = response.headers;
    });
    socket.once("message", (data: Buffer) => {
      const { node } = JSON.parse(data.toString()) as { node: string };
      resolve({ status: 101, headers, node, socket });
    });
    socket.once("unexpected-response", (_request, response) => {
      response.resume();
      socket.terminate();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, node: "", socket });
    });
    socket.on("error", () => undefined); // "close" follows
    socket.once("close", (code) => {
      if (open) reject(new Error(`the socket closed with ${code} before the welcome came`));
      else resolve({ status: 0, headers, node: "", socket });
    });
  });
}

/** As many at a time as a client's machine does without being the bottleneck. */
export async function inTurns<T, R>(
  items: readonly T[],
  action: (item: T) => Promise<R>,
  atOnce = 50,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await action(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
  return results;
}

/** Resolves when every socket is gone. */
export async function closeAll(sockets: readonly WebSocket[]): Promise<void> {
  const gone = sockets
    .filter(({ readyState }) => readyState !== WebSocket.CLOSED)
    .map((socket) => new Promise((resolve) => socket.once("close", resolve)));
  for (const socket of sockets) socket.terminate();
  await Promise.all(gone);
}

/** Where each key's socket lands; none stays open. @throws Error where one is not taken */
export async function whereKeysLand(url: string, keys: readonly string[]): Promise<Map<string, string>> {
  const landed = await inTurns(keys, async (key) => {
    const { status, node, socket } = await upgrade(url, `key=${key}`);
    if (status !== 101) throw new Error(`key ${key} got ${status}`);
    await closeAll([socket]);
    return node;
  });
  return new Map(keys.map((key, index) => [key, landed[index]!]));
}

/** How many of each. */
export function countOf(names: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** A node of this process, as Envoy's configuration wants it. */
export function endpointOf(node: Pick<TestNode, "wsUrl" | "apiUrl">): Endpoint {
  const port = (url: string): number => Number(new URL(url).port);
  return { host: "127.0.0.1", port: port(node.wsUrl), apiPort: port(node.apiUrl) };
}
