/** Whose connection it is, where proxies stand between the client and this node. */

import { BlockList, isIP } from "node:net";

export interface ClientAddressOptions {
  /** How many proxies each add an address to X-Forwarded-For; 0: there is none. */
  readonly hops: number;
  /** Addresses and networks (10.0.0.0/8) of the last proxy; empty: any peer is taken for it. */
  readonly proxies: readonly string[];
}

/**
 * @param peer  the socket's own address
 * @param forwardedFor  all values of X-Forwarded-For in order, joined by commas; "" for none
 */
export type ClientAddressOf = (peer: string, forwardedFor: string) => string;

/** @returns undefined where the peer is the client, so that no header need be read */
export function clientAddress({ hops, proxies }: ClientAddressOptions): ClientAddressOf | undefined {
  if (hops === 0) return undefined;
  const trusted = proxies.length === 0 ? undefined : networks(proxies);
  return (peer, forwardedFor) => {
    if (trusted !== undefined && !includes(trusted, peer)) return peer;
    // Only what the trusted proxies added is true: what stands before it came with the client's request.
    const added = forwardedFor.split(",").at(-hops);
    return (added === undefined ? undefined : addressOf(added.trim())) ?? peer;
  };
}

function networks(proxies: readonly string[]): BlockList {
  const list = new BlockList();
  for (const proxy of proxies) {
    const [address = "", bits] = proxy.split("/");
    const six = isIP(address) === 6;
    list.addSubnet(address, Number(bits ?? (six ? 128 : 32)), six ? "ipv6" : "ipv4");
  }
  return list;
}

function includes(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Some proxies add the port: 192.0.2.1:1234, [2001:db8::1]:1234. */
function addressOf(text: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\](?::\d+)?|([^:]*):\d+)$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  return isIP(address) === 0 ? undefined : address;
}
