/**
 * Whose connection it is. Addresses are compared as numbers, never as text: an IPv6 address has very many
 * spellings, and IPv4 has one more within IPv6 (::ffff:192.0.2.1).
 */

import ipaddr from "ipaddr.js";

/**
 * What counts as one client: an IPv4 address, or the /64 that an IPv6 address is in, which is what one
 * subscriber gets. Two or four UTF-16 units; "" where the address is unknown. A string, as V8 hashes those
 * with a seed: nobody can choose addresses that meet in one bucket of a Map.
 */
export type AddressKey = string;

export interface ClientAddressOptions {
  /** How many proxies each add an address to X-Forwarded-For; 0: there is none. */
  readonly hops: number;
  /** Addresses and networks (10.0.0.0/8) of the last proxy; empty: any peer is taken for it. */
  readonly proxies: readonly string[];
}

/**
 * @param peer  the socket's own address, 4 or 16 bytes
 * @param forwardedFor  all values of X-Forwarded-For in order, joined by commas; "" for none
 */
export type ClientAddressOf = (peer: Uint8Array, forwardedFor: () => string) => AddressKey;

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** @returns undefined where the peer is the client, so that no header need be read */
export function clientAddress({ hops, proxies }: ClientAddressOptions): ClientAddressOf | undefined {
  if (hops === 0) return undefined;
  const trusted = proxies.map(networkOf);
  return (peer, forwardedFor) => {
    if (trusted.length > 0 && !includes(trusted, peer)) return addressKey(peer);
    // Only what the trusted proxies added is true: what stands before it came with the client's request.
    const added = nthFromEnd(forwardedFor(), hops);
    const address = added === undefined ? undefined : addressOf(added.trim());
    return addressKey(address?.toByteArray() ?? peer);
  };
}

/** @param bytes  of an address, in network order */
export function addressKey(bytes: ArrayLike<number>): AddressKey {
  if (bytes.length === 4) return unitsOf(bytes, 0, 4);
  if (bytes.length !== 16) return "";
  return isMappedIPv4(bytes) ? unitsOf(bytes, 12, 16) : unitsOf(bytes, 0, 8);
}

/** As people write it: 192.0.2.1, 2001:db8::/64. */
export function addressText(key: AddressKey): string {
  const bytes = Array.from(key, (_, at) => [key.charCodeAt(at) >> 8, key.charCodeAt(at) & 0xff]).flat();
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 8) return "an unknown address";
  return `${ipaddr.fromByteArray([...bytes, ...new Array<number>(8).fill(0)]).toString()}/64`;
}

function unitsOf(bytes: ArrayLike<number>, from: number, to: number): AddressKey {
  let key = "";
  for (let at = from; at < to; at += 2) key += String.fromCharCode((bytes[at]! << 8) | bytes[at + 1]!);
  return key;
}

/** ::ffff:0:0/96 (RFC 4291 2.5.5.2): how a socket that listens on :: shows clients that came over IPv4. */
function isMappedIPv4(bytes: ArrayLike<number>): boolean {
  for (let at = 0; at < 10; at++) if (bytes[at] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** @returns the item that is the nth from the end of a list that a client may have made very long */
function nthFromEnd(list: string, n: number): string | undefined {
  let end = list.length;
  for (let left = n; ; left--) {
    const comma = list.lastIndexOf(",", end - 1);
    if (left === 1) return list.slice(comma + 1, end);
    if (comma <= 0) return undefined;
    end = comma;
  }
}

/** Some proxies add the port: 192.0.2.1:1234, [2001:db8::1]:1234. */
function addressOf(text: string): Address | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\](?::\d+)?|([^:]*):\d+)$/.exec(text) ?? [];
  return parse(bracketed ?? plain ?? text);
}

/** Without the shorter, octal and hexadecimal forms of IPv4, which programs read differently. */
function parse(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  return ipaddr.IPv6.isValid(text) ? unmapped(ipaddr.IPv6.parse(text)) : undefined;
}

function unmapped(address: Address): Address {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

interface Network {
  readonly address: Address;
  readonly bits: number;
}

function networkOf(text: string): Network {
  const [given = "", bits] = text.split("/");
  const address = parse(given);
  if (address === undefined) throw new Error(`${JSON.stringify(given)} is not an address`);
  const all = address.toByteArray().length * 8;
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const mapped = given.includes(":") && all === 32;
  return { address, bits: bits === undefined ? all : Math.max(0, Number(bits) - (mapped ? 96 : 0)) };
}

function includes(networks: readonly Network[], bytes: Uint8Array): boolean {
  if (bytes.length !== 4 && bytes.length !== 16) return false;
  const peer = unmapped(ipaddr.fromByteArray([...bytes]));
  return networks.some(({ address, bits }) => address.kind() === peer.kind() && peer.match(address, bits));
}
