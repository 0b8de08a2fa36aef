/** Ports of this machine that nobody has. */

import { once } from "node:events";
import { createServer } from "node:net";

const LOWEST_PORT = 10_000;
/**
 * Linux gives outgoing connections ports from here on. A server that is to come back at its port
 * must not find it taken by one of the thousands of connections through a load balancer.
 */
const EPHEMERAL_PORTS = 32_768;
const ATTEMPTS = 100;
const given = new Set<number>();

/**
 * A free port of 127.0.0.1 that was not given before.
 * @param preferred  taken where it is free; else one that no outgoing connection is given
 */
export async function freePort(preferred?: number): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const chosen = LOWEST_PORT + Math.floor(Math.random() * (EPHEMERAL_PORTS - LOWEST_PORT));
    const port = attempt === 0 ? (preferred ?? chosen) : chosen;
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port was found in ${ATTEMPTS} attempts`);
}

/** @throws Error where `host` is none of this machine's */
export async function isFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  const server = createServer().listen({ port, host, exclusive: true });
  try {
    await once(server, "listening");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
  server.close();
  await once(server, "close");
  return true;
}
