import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.js";

const warnings = (env: Record<string, string>): readonly string[] =>
  loadConfig({ env, flags: { maxConnections: 1 } }).warnings;

const KEYS = { STARLING_APP_KEY: "key-of-tests", STARLING_APP_SECRET: "a-secret-of-the-tests" };

describe("a variable of another server", () => {
  it("is warned of once for each server, with where to read on", () => {
    expect(warnings({ SOKETI_PORT: "6001" })).toEqual([
      "SOKETI_PORT has no effect: docs/pusher.md#soketi names what to set instead",
    ]);
    expect(warnings({ SOKETI_PORT: "6001", SOKETI_DEBUG: "1", SOKETI: "1" })).toEqual([
      "SOKETI_DEBUG and 1 more of Soketi have no effect: docs/pusher.md#soketi names what to set instead",
    ]);
    expect(warnings({ DEFAULT_APP_KEY: "k", REVERB_SERVER_PORT: "8080" })).toEqual([
      "DEFAULT_APP_KEY has no effect: docs/pusher.md#soketi names what to set instead",
      "REVERB_SERVER_PORT has no effect: docs/pusher.md#laravel-reverb names what to set instead",
    ]);
  });

  it("is not seen in names that others have too, nor where it is empty", () => {
    expect(warnings({ PORT: "1", DEBUG: "1", HOST: "h", REDIS_URL: "r", SOKETI_PORT: "" })).toEqual([]);
    expect(warnings({ REVERB_HOST: "h", REVERB_PORT: "1", PUSHER_APP_CLUSTER: "mt1" })).toEqual([]);
  });

  it("that Laravel reads too is warned of only where no app has keys", () => {
    const laravel = { PUSHER_APP_KEY: "k", PUSHER_APP_SECRET: "s", REVERB_APP_ID: "1" };
    expect(warnings(laravel)).toEqual([
      "PUSHER_APP_KEY and 2 more of Laravel have no effect: docs/pusher.md#moving names what to set instead",
    ]);
    expect(warnings({ ...laravel, ...KEYS })).toEqual([]);
  });
});

it("a variable of Starling in small letters is warned of, with its name in capital ones", () => {
  expect(warnings({ starling_app_id: "1" })).toEqual([
    "starling_app_id has no effect: names are in capital letters, as STARLING_APP_ID",
  ]);
});
