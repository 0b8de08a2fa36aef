/** Which Node.js runs the servers. With several, each peer runs on each of them, and is called after both. */

import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import type { Peer } from "../types.js";

export interface NodeBinary {
  readonly path: string;
  /** As `node --version` has it. */
  readonly version: string;
}

const VERSION_MS = 20_000;
const SEPARATOR = "@";
const SUFFIX = /@v\d+\.\d+\.\d+$/;

/** @throws Error where there is none, or it does not run here */
export function nodeAt(path: string): NodeBinary {
  const version = execFileSync(path, ["--version"], { encoding: "utf8", timeout: VERSION_MS }).trim();
  if (!/^v\d+\.\d+\.\d+/.test(version))
    throw new Error(`it says ${JSON.stringify(version)}, no version of Node`);
  // Servers are started elsewhere.
  return { path: path.includes("/") ? resolve(path) : path, version };
}

/** @param nodes  none: the Node that runs the bench */
export function onNodes(peers: readonly Peer[], nodes: readonly NodeBinary[]): readonly Peer[] {
  if (nodes.length === 0) return peers;
  return peers.flatMap((peer) => nodes.map((node) => onNode(peer, node, nodes.length > 1)));
}

function onNode(peer: Peer, { path, version }: NodeBinary, isOneOfSeveral: boolean): Peer {
  return {
    ...peer,
    ...(isOneOfSeveral && { name: `${peer.name}${SEPARATOR}${version}` }),
    nodeVersion: version,
    start: (options) => peer.start({ ...options, features: { ...options.features, nodePath: path } }),
  };
}

/** What a peer is compared with: the reference on the same Node. */
export function referenceOf(peer: string, reference: string): string {
  return reference + suffixOf(peer);
}

/** Of a peer's name: the Node that it runs on, where there are several; else empty. */
export function suffixOf(peer: string): string {
  return SUFFIX.exec(peer)?.[0] ?? "";
}
