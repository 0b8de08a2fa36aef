/** Hosts as they stand in a URL. */

/** A port stands behind it: an address of IPv6 is in brackets there. */
export function inBrackets(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

/** An address that a client on this machine can use: 0.0.0.0 is every address and none. */
export function urlHost(host: string): string {
  return host === "0.0.0.0" || host === "::" ? "127.0.0.1" : inBrackets(host);
}
