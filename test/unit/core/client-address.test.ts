import { describe, expect, it } from "vitest";
import { clientAddress } from "../../../src/core/client-address.js";

const PEER = "10.0.0.9";
const of = (hops: number, proxies: readonly string[] = []) => clientAddress({ hops, proxies })!;

describe("the client's address", () => {
  it("is the socket's own where no proxy is told of: no header is even read", () => {
    expect(clientAddress({ hops: 0, proxies: [] })).toBeUndefined();
  });

  it.each([
    [1, "192.0.2.1", "192.0.2.1"],
    [1, "203.0.113.7, 192.0.2.1", "192.0.2.1"],
    [1, "203.0.113.7,192.0.2.1", "192.0.2.1"],
    [2, "203.0.113.7, 192.0.2.1, 10.0.0.3", "192.0.2.1"],
    [2, "192.0.2.1, 10.0.0.3", "192.0.2.1"],
    [1, "2001:db8::1", "2001:db8::1"],
    [1, "192.0.2.1:4711", "192.0.2.1"],
    [1, "[2001:db8::1]:4711", "2001:db8::1"],
    [1, "[2001:db8::1]", "2001:db8::1"],
  ])("is the one that the first of %i proxies added: %s", (hops, header, address) => {
    expect(of(hops)(PEER, header)).toBe(address);
  });

  it.each([
    [1, ""],
    [1, ","],
    [1, "192.0.2.1, "],
    [1, "192.0.2.1, unknown"],
    [1, "192.0.2.1, 999.0.0.1"],
    [1, "192.0.2.1:"],
    [1, "[192.0.2.1, 2001:db8::1]x"],
    // Came past the first proxy.
    [2, "192.0.2.1"],
    [3, "192.0.2.1, 10.0.0.3"],
  ])("is the peer's where %i proxies did not add one that can be read: %j", (hops, header) => {
    expect(of(hops)(PEER, header)).toBe(PEER);
  });

  it("does not change with what a client writes before its proxy does", () => {
    for (const forged of ["1.2.3.4", "1.2.3.4, 5.6.7.8", "x", ", ,", "127.0.0.1:80"]) {
      expect(of(1)(PEER, `${forged}, 192.0.2.1`)).toBe("192.0.2.1");
    }
  });

  it("is believed of trusted proxies only, where they are named", () => {
    const address = of(1, ["10.0.0.0/8", "192.168.1.5", "fd00::/8"]);
    for (const peer of ["10.0.0.9", "10.255.0.1", "192.168.1.5", "fd12::1", "::ffff:10.0.0.9"]) {
      expect(address(peer, "192.0.2.1"), peer).toBe("192.0.2.1");
    }
    for (const peer of ["11.0.0.9", "192.168.1.6", "fe80::1", "::ffff:11.0.0.9"]) {
      expect(address(peer, "192.0.2.1"), peer).toBe(peer);
    }
  });
});
