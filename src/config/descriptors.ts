/** How a process's file descriptors are divided: at their limit no socket can be accepted, not even the API's. */

import { existsSync, readFileSync } from "node:fs";

/** For all but clients: Redis, the API, logs, the runtime's own. */
const RESERVED_FILES = 256;

/**
 * Node raises its soft limit to the hard one as it starts, so this is what it can have.
 * @returns undefined where the system does not tell, or there is no limit
 */
export function openFileLimit(): number | undefined {
  const limits = "/proc/self/limits";
  if (!existsSync(limits)) return undefined;
  const soft = /^Max open files\s+(\d+)/m.exec(readFileSync(limits, "utf8"))?.[1];
  return soft === undefined ? undefined : Number(soft);
}

/** What is kept from clients: half of a limit that is very low. */
export function reservedFiles(fileLimit: number): number {
  return Math.min(RESERVED_FILES, Math.floor(fileLimit / 2));
}

export interface SocketLimits {
  /** Sockets on the clients' port: more than maxConnections, so that refused clients are told why. */
  readonly clients: number;
  /** Sockets on the API's port. */
  readonly api: number;
}

/**
 * Half of the reserve is the process's own. What the connections and it leave is for the API, and for
 * clients' sockets that are no connections.
 */
export function socketLimits(maxConnections: number, fileLimit: number | undefined): SocketLimits {
  if (fileLimit === undefined) return { clients: Infinity, api: Infinity };
  const own = Math.floor(reservedFiles(fileLimit) / 2);
  const spare = fileLimit - own - maxConnections;
  const each = Math.floor(Math.max(own, spare) / 2);
  return { clients: Math.min(maxConnections, fileLimit - own - each * 2) + each, api: each };
}
