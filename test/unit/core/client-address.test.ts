import { isIP, isIPv4 } from "node:net";
import { describe, expect, it } from "vitest";
import { addressKey, addressText, clientAddress } from "../../../src/core/client-address.js";

const V4 = Uint8Array.of(10, 0, 0, 9);
const mapped = (...v4: number[]) => Uint8Array.of(...new Array<number>(10).fill(0), 0xff, 0xff, ...v4);
const v6 = (...units: number[]) => Uint8Array.from(units.flatMap((unit) => [unit >> 8, unit & 0xff]));
const DOCUMENTATION = v6(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);

/** The address as an operator reads it, for a peer and its X-Forwarded-For. */
const of = (hops: number, proxies: readonly string[] = []) => {
  const address = clientAddress({ hops, proxies })!;
  return (peer: Uint8Array, header: string) => addressText(address(peer, () => header));
};

describe("an address as a key", () => {
  it("is an IPv4 address, or the /64 of an IPv6 address", () => {
    expect(addressText(addressKey([192, 0, 2, 255]))).toBe("192.0.2.255");
    expect(addressText(addressKey(DOCUMENTATION))).toBe("2001:db8:1:2::/64");
    expect(addressKey(DOCUMENTATION)).toBe(addressKey(v6(0x2001, 0xdb8, 1, 2, 0, 0, 0, 1)));
    expect(addressKey(DOCUMENTATION)).not.toBe(addressKey(v6(0x2001, 0xdb8, 1, 3, 3, 4, 5, 6)));
  });

  it("takes IPv4 within IPv6 as IPv4, and no other address with it", () => {
    expect(addressKey(mapped(192, 0, 2, 1))).toBe(addressKey([192, 0, 2, 1]));
    expect(addressKey(v6(0, 0, 0, 0, 0, 0, 0xc000, 0x201))).not.toBe(addressKey([192, 0, 2, 1]));
    expect(addressKey(v6(0, 0, 0, 0, 1, 0xffff, 0xc000, 0x201))).not.toBe(addressKey([192, 0, 2, 1]));
  });

  it("is one for all addresses that cannot be known", () => {
    expect(addressKey([])).toBe("");
    expect(addressText("")).toBe("an unknown address");
  });
});

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
    [1, "2001:db8::1", "2001:db8::/64"],
    [1, "192.0.2.1:4711", "192.0.2.1"],
    [1, "[2001:db8::1]:4711", "2001:db8::/64"],
    [1, "[2001:db8::1]", "2001:db8::/64"],
    [1, "::ffff:192.0.2.1", "192.0.2.1"],
    [1, "[::ffff:192.0.2.1]:80", "192.0.2.1"],
  ])("is the one that the first of %i proxies added: %s", (hops, header, address) => {
    expect(of(hops)(V4, header)).toBe(address);
  });

  it("is one however it is spelled", () => {
    const spellings = [
      "2001:db8:1:2::a",
      "2001:DB8:1:2::A",
      "2001:0db8:0001:0002:0000:0000:0000:000a",
      "2001:db8:1:2:0:0:0:a",
      "2001:db8:1:2::0:a",
      "2001:db8:1:2::0.0.0.10",
      "[2001:db8:1:2::a]",
      "[2001:db8:1:2::a]:443",
      "2001:db8:1:2:ffff::",
    ];
    const address = clientAddress({ hops: 1, proxies: [] })!;
    expect(new Set(spellings.map((header) => address(V4, () => header)))).toEqual(
      new Set([addressKey(v6(0x2001, 0xdb8, 1, 2, 0, 0, 0, 0))]),
    );
    const four = ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "::FFFF:C000:0201", "192.0.2.1:1"];
    expect(new Set(four.map((header) => address(V4, () => header)))).toEqual(
      new Set([addressKey([192, 0, 2, 1])]),
    );
  });

  it.each([
    [1, ""],
    [1, ","],
    [1, "192.0.2.1, "],
    [1, "192.0.2.1, unknown"],
    [1, "192.0.2.1, 999.0.0.1"],
    [1, "192.0.2.1:"],
    [1, "[192.0.2.1, 2001:db8::1]x"],
    // Forms of IPv4 that programs read differently.
    [1, "0300.0.2.1"],
    [1, "0xc0000201"],
    [1, "3221225985"],
    [1, "192.0.513"],
    // Came past the first proxy.
    [2, "192.0.2.1"],
    [3, "192.0.2.1, 10.0.0.3"],
    [2, ",192.0.2.1"],
  ])("is the peer's where %i proxies did not add one that can be read: %j", (hops, header) => {
    expect(of(hops)(V4, header)).toBe("10.0.0.9");
  });

  it("does not change with what a client writes before its proxy does", () => {
    for (const forged of ["1.2.3.4", "1.2.3.4, 5.6.7.8", "x", ", ,", "127.0.0.1:80", ",".repeat(16_000)]) {
      expect(of(1)(V4, `${forged}, 192.0.2.1`)).toBe("192.0.2.1");
    }
  });

  it("is believed of trusted proxies only, where they are named", () => {
    const address = of(1, ["10.0.0.0/8", "192.168.1.5", "fd00::/8", "::ffff:172.16.0.0/108"]);
    const trusted = [V4, mapped(10, 255, 0, 1), [192, 168, 1, 5], v6(0xfd12, 0, 0, 0, 0, 0, 0, 1)];
    for (const peer of [...trusted, [172, 31, 0, 1]]) {
      expect(address(Uint8Array.from(peer), "192.0.2.1"), peer.join()).toBe("192.0.2.1");
    }
    const others = [[11, 0, 0, 9], [192, 168, 1, 6], mapped(11, 0, 0, 9), [172, 32, 0, 1], DOCUMENTATION];
    for (const peer of others) {
      const bytes = Uint8Array.from(peer);
      expect(address(bytes, "192.0.2.1"), peer.join()).toBe(addressText(addressKey(bytes)));
    }
  });

  it("takes for an address what Node does", () => {
    const texts = ["1.2.3.4", "::", "::1", "1::", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4"];
    const wrong = [
      "1.2.3",
      "01.2.3.4",
      "1.2.3.4.5",
      ":::",
      "1:2:3:4:5:6:7",
      "1::2::3",
      "g::",
      "256.1.1.1",
      ":1",
    ];
    for (const text of [...texts, ...wrong]) {
      const address = of(1)(Uint8Array.of(9, 9, 9, 9), isIPv4(text) ? text : `[${text}]`);
      expect(address !== "9.9.9.9", text).toBe(isIP(text) !== 0);
    }
  });
});
