/** Which nodes have the page of pusher-js, and its key. */

import { describe, expect, it } from "vitest";
import { appsOf, configSchema, defaultConfig, type Config } from "../../src/config.js";
import { createDemo } from "../../src/node-demo.js";

const PAIR = { appKey: "own-key", appSecret: "secret-of-its-own" };
const outside = { production: false };
const read = (options: Record<string, unknown> = {}): Config =>
  configSchema.parse({ ...defaultConfig, ...options });
const keysOf = (config: Config): string[] => appsOf(config).flatMap(({ keys }) => keys.map(({ key }) => key));

describe("the page of pusher-js", () => {
  it("has a key of main, with another secret at each start, and client events", () => {
    const [one, two] = [createDemo(read(), outside), createDemo(read(), outside)];
    expect(one.pair?.secret).toMatch(/^[0-9a-f]{64}$/);
    expect(two.pair).toEqual({
      key: one.pair?.key,
      secret: expect.not.stringMatching(one.pair!.secret) as string,
    });
    const [main] = appsOf(one.withPair(read()));
    expect(main).toMatchObject({ id: "main", keys: [one.pair], pusher: { clientEvents: true } });
    expect(Object.keys(one.files)).toEqual(expect.arrayContaining(["/", "/pusher"]));
    expect(one.absent).toEqual({});
  });

  it.each([
    ["the demo is off", "demo is off", { demo: false }],
    ["others reach the node", "host is not", { host: "0.0.0.0" }],
    ["the node is one of a fleet", "redis is set", { redis: "redis://127.0.0.1:6379" }],
    ["clients need tokens", "main asks for tokens", { jwtSecret: "a secret of the tests, 32 bytes long" }],
    ["main has a key", "an app has keys", PAIR],
    [
      "another app has one",
      "an app has keys",
      { apps: [{ id: "shop", keys: [{ key: "key", secret: "secret-of-the-shop" }] }] },
    ],
  ])("is not there where %s, and says so", (_, reason, options) => {
    const config = read(options);
    const demo = createDemo(config, outside);
    expect(demo.pair).toBeUndefined();
    expect(demo.withPair(config)).toBe(config);
    expect(Object.keys(demo.files)).not.toContain("/pusher");
    expect(demo.absent).toEqual({ "/pusher": expect.stringContaining(`is off, as ${reason}`) as string });
  });

  it("is not there in production", () => {
    const demo = createDemo(read({ allowOpen: true }), { production: true });
    expect(demo.pair).toBeUndefined();
    expect(demo.absent["/pusher"]).toContain("as NODE_ENV is production");
  });

  it("loses its key when a reload brings tokens or another key, and has it again when they are gone", () => {
    const demo = createDemo(read(), outside);
    const closed = read({ jwtSecret: "a secret of the tests, 32 bytes long" });
    expect(keysOf(demo.withPair(closed))).toEqual([]);
    expect(keysOf(demo.withPair(read(PAIR)))).toEqual(["own-key"]);
    expect(keysOf(demo.withPair(read()))).toEqual([demo.pair!.key]);
  });

  it("does not come with a reload", () => {
    const demo = createDemo(read(PAIR), outside);
    expect(keysOf(demo.withPair(read()))).toEqual([]);
  });
});
