import { describe, expect, it } from "vitest";

import { address, parseRedisUrl, redact, secretsOf } from "../../../../src/redis/link/redis-url.js";

const nobody = { username: undefined, password: undefined };
const single = { kind: "single", db: 0, tls: false, ...nobody };

describe("a Redis URL", () => {
  it.each([
    ["redis://h", { ...single, server: { host: "h", port: 6379 } }],
    ["redis://h/", { ...single, server: { host: "h", port: 6379 } }],
    ["redis://[::1]:7", { ...single, server: { host: "::1", port: 7 } }],
    [
      "rediss://u:p@h:1/2",
      {
        kind: "single",
        server: { host: "h", port: 1 },
        db: 2,
        tls: true,
        username: "u",
        password: "p",
      },
    ],
    ["redis://:100%25%2F@h", { ...single, server: { host: "h", port: 6379 }, password: "100%/" }],
    ["/run/redis.sock", { ...single, server: { path: "/run/redis.sock" } }],
    ["/run/redis.sock?db=3", { ...single, server: { path: "/run/redis.sock" }, db: 3 }],
    ["unix:///run/redis.sock", { ...single, server: { path: "/run/redis.sock" } }],
    [
      "redis+unix://me:p%40ss@/run/a%20b@c.sock?db=2",
      {
        ...single,
        server: { path: "/run/a b@c.sock" },
        db: 2,
        username: "me",
        password: "p@ss",
      },
    ],
    [
      "redis+sentinel://a,b:7/mymaster",
      {
        kind: "sentinel",
        masterName: "mymaster",
        db: 0,
        tls: false,
        endpoints: [
          { host: "a", port: 26379 },
          { host: "b", port: 7 },
        ],
        ...nobody,
      },
    ],
    [
      "rediss+sentinel://me:p%40%3A%2F@[::1]:7/my%20master/3",
      {
        kind: "sentinel",
        masterName: "my master",
        db: 3,
        tls: true,
        endpoints: [{ host: "::1", port: 7 }],
        username: "me",
        password: "p@:/",
      },
    ],
    [
      "redis+cluster://:p:q@a,b:7",
      {
        kind: "cluster",
        tls: false,
        endpoints: [
          { host: "a", port: 6379 },
          { host: "b", port: 7 },
        ],
        username: undefined,
        password: "p:q",
      },
    ],
    ["REDISS+CLUSTER://a", { kind: "cluster", tls: true, endpoints: [{ host: "a", port: 6379 }], ...nobody }],
  ])("%s is read", (url, target) => {
    expect(parseRedisUrl(url)).toEqual(target);
  });

  it.each([
    ["h:6379", /use redis:\/\/.*redis\+sentinel.*redis\+cluster.*unix:/],
    ["http://h", /use redis:\/\//],
    ["redis+other://a", /use redis:\/\//],
    ["redis://", /a host is missing/],
    ["redis://:6379", /is not host/],
    ["redis://h:0", /port 0 of "h" is not allowed: a number from 1 to 65535/],
    ["redis://h:65536", /port 65536 of "h"/],
    ["redis://h/cache", /"cache" is not a database: databases are numbers from 0/],
    ["redis://h/-1", /"-1" is not a database/],
    ["redis://h/1/2", /"1\/2" is not a database/],
    ["redis://a,b", /several hosts are redis\+sentinel.* or redis\+cluster/],
    ["redis+sentinel://a,b", /the name of the master/],
    ["redis+sentinel://a/", /the name of the master/],
    ["redis+sentinel://a/m/x", /"x" is not a database/],
    ["redis+sentinel://a,,b/m", /a host is missing/],
    ["redis+sentinel://a:x/m", /behind "a" comes a port, which is a number/],
    ["redis+cluster://a/0", /a Cluster has one database/],
    ["redis+cluster://", /a host is missing/],
    ["redis+cluster://a b", /"a b" is not host\[:port\]/],
    ["unix://", /a Unix socket is unix:/],
    ["unix://run/redis.sock", /a Unix socket is unix:/],
  ])("%s is refused with what is wrong", (url, message) => {
    expect(() => parseRedisUrl(url)).toThrow(/is not a Redis URL: /);
    expect(() => parseRedisUrl(url)).toThrow(message);
  });

  it.each([
    ["redis://h?db=1", /"db" is not known: the database is the URL's path, as in redis:\/\/host\/1/],
    ["redis://h/1?keyPrefix=x", /"keyPrefix" is not known: the prefix of all keys is the option redisPrefix/],
    ["redis://h?tls=true", /"tls" is not known: TLS is rediss:\/\//],
    ["rediss://h?ssl_cert_reqs=none", /"ssl_cert_reqs" is not known: TLS is rediss:\/\//],
    ["redis://h?password=hush", /"password" is not known: user and password stand before the host/],
    ["redis://h?connectTimeout=5", /"connectTimeout" is not known: .*redisCommandTimeoutMs/],
    ["redis+cluster://h?maxRetriesPerRequest=1", /"maxRetriesPerRequest" is not known: /],
    ["redis+sentinel://a/m?db=1", /"db" is not known/],
    ["/run/redis.sock?keyPrefix=x", /"keyPrefix" is not known: .*redisPrefix/],
    ["unix:///run/redis.sock?db=x", /"x" is not a database/],
    ["unix:///run/redis.sock?db=1&db=2", /"db" is given twice/],
  ])("%s is refused with the option that says the same", (url, message) => {
    expect(() => parseRedisUrl(url)).toThrow(message);
  });

  it.each([
    ["redis://me:hush%@h", /the password has a % that does not begin an escape: write %25/],
    ["redis+sentinel://me:hush%@a/m", /the password has a % that does not begin an escape: write %25/],
    ["redis://me:hush%ff@h", /write %25/],
    ["redis://me:hu/sh@h", /holds a \/, which is written %2F there/],
    ["redis://me:hu#sh@h", /holds a #, which is written %23/],
    ["redis://me:hu?sh@h", /holds a \?, which is written %3F/],
    ["redis+cluster://me:hu@sh@h", /holds a @, which is written %40/],
    ["redis+cluster://me:hush@a b", /"a b" is not host/],
    ["http://me:hush@h", /use redis:/],
    ["redis://me:hush", /behind "me" comes a port.*, or, if that is a user, password@host/],
    ["redis://h?password=hush", /stand before the host/],
    ["unix:///s?password=hush", /stand before the host/],
  ])("%s is refused with how it is written, without its password", (url, message) => {
    expect(() => parseRedisUrl(url)).toThrow(message);
    expect(() => parseRedisUrl(url)).toThrow(/^(?!.*hu)(?!.*sh["@])/s);
  });

  it.each([
    ["redis://me:hu@sh@h:1", "redis://me:***@h:1"],
    ["redis://:hush@h", "redis://:***@h"],
    ["redis://:hu/sh?x@h/1", "redis://:***@h/1"],
    ["rediss+sentinel://me:hush@a,b/m", "rediss+sentinel://me:***@a,b/m"],
    ["redis+cluster://me@a", "redis+cluster://me@a"],
    ["redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2"],
    ["redis://h?password=hush&family=6", "redis://h?password=***&family=6"],
    ["redis://me:hush", "redis://me:***"],
    ["redis://h:6379/1", "redis://h:6379/1"],
    ["unix://me:hush@/run/redis.sock?db=1", "unix://me:***@/run/redis.sock?db=1"],
    ["me:hu@sh@h", "me:***@h"],
  ])("%s is shown as %s", (url, shown) => {
    expect(redact(url)).toBe(shown);
  });

  it.each([
    ["redis://me:hush@h", "h:6379"],
    ["redis://[::1]", "[::1]:6379"],
    ["unix://:hush@/run/redis.sock?db=1", "/run/redis.sock"],
    ["redis+cluster://me:hush@a,b:7", "Cluster a:6379,b:7"],
    ["redis+sentinel://me:hush@a,b:7/m", "m of Sentinels a:26379,b:7"],
    ["nonsense://me:hush@h", "nonsense://me:***@h"],
  ])("%s is named %s in an error", (url, named) => {
    expect(address(url)).toBe(named);
  });

  it("has its password to hide, as written and as meant", () => {
    expect(secretsOf("redis://me:h%75sh@h")).toEqual(["h%75sh", "hush"]);
    expect(secretsOf("redis+cluster://me:h%75sh@a,b")).toEqual(["h%75sh", "hush"]);
    expect(secretsOf("redis+sentinel://a/m")).toEqual([]);
    expect(secretsOf("redis+sentinel://:hush%@a/m")).toEqual(["hush%"]);
    expect(secretsOf("unix://:hush@/s")).toEqual(["hush"]);
  });
});
