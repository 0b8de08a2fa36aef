import { describe, expect, it } from "vitest";

import { address, parseTarget, redact, secretsOf } from "../../../src/redis/target.js";

const nobody = { username: undefined, password: undefined };

describe("a Redis URL", () => {
  it.each([
    ["redis://h", { kind: "single", url: "redis://h", tls: false }],
    ["rediss://u:p@h:1/2", { kind: "single", url: "rediss://u:p@h:1/2", tls: true }],
    ["/run/redis.sock", { kind: "single", url: "/run/redis.sock", tls: false }],
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
    expect(parseTarget(url)).toEqual(target);
  });

  it.each([
    "h:6379",
    "http://h",
    "redis://",
    "redis+sentinel://a,b",
    "redis+sentinel://a/",
    "redis+sentinel://a/m/x",
    "redis+sentinel://a,,b/m",
    "redis+sentinel://a:x/m",
    "redis+cluster://a/0",
    "redis+cluster://",
    "redis+cluster://a b",
    "redis+other://a",
  ])("%s is refused with what one looks like", (url) => {
    expect(() => parseTarget(url)).toThrow(
      /is no Redis URL: use redis:\/\/.*redis\+sentinel.*redis\+cluster/,
    );
  });

  it("that is wrong is refused without its password", () => {
    for (const url of ["redis+cluster://me:hush@a b", "redis+sentinel://me:hush%@a/m", "http://me:hush@h"]) {
      expect(() => parseTarget(url)).toThrow(/^(?!.*hush)/s);
    }
    expect(() => parseTarget("redis+sentinel://me:hush%@a/m")).toThrow(/has a % that begins no escape/);
  });

  it.each([
    ["redis://me:hu@sh@h:1", "redis://me:***@h:1"],
    ["redis://:hush@h", "redis://:***@h"],
    ["rediss+sentinel://me:hush@a,b/m", "rediss+sentinel://me:***@a,b/m"],
    ["redis+cluster://me@a", "redis+cluster://me@a"],
    ["redis://h?password=hush&family=6", "redis://h?password=***&family=6"],
  ])("%s is shown as %s", (url, shown) => {
    expect(redact(url)).toBe(shown);
  });

  it.each([
    ["redis://me:hush@h", "h:6379"],
    ["/run/redis.sock?password=hush", "/run/redis.sock"],
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
  });
});
