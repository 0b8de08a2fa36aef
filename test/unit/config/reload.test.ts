import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config.js";
import { readAgain, reloadedOptions } from "../../../src/config/reload.js";

describe("a configuration that is read again", () => {
  it("gives its apps, those of the top level too, and keeps the rest", () => {
    const running = loadConfig({ flags: { port: "1", apiKeys: "old" } });
    const read = loadConfig({ flags: { port: "2", apiKeys: "new", apps: [{ id: "shop" }], demo: "false" } });
    const { config, unapplied } = readAgain(running, read, false);
    expect(config).toMatchObject({ port: 1, apiKeys: ["new"], apps: [{ id: "shop" }], demo: true });
    expect(config.nodeId).toBe(running.config.nodeId);
    expect(unapplied).toEqual(["port", "demo"]);
  });

  it("tells of no option that only its random default makes another", () => {
    expect(readAgain(loadConfig({}), loadConfig({}), false).unapplied).toEqual([]);
  });

  it("is checked against what the node runs with", () => {
    const running = loadConfig({ flags: { apiHost: "0.0.0.0", apiKeys: "k" } });
    const read = loadConfig({ flags: { apiHost: "127.0.0.1" } });
    expect(() => readAgain(running, read, false)).toThrow(/without an API key/);
  });

  it("is refused where the file of the start is gone or empty", () => {
    const directory = mkdtempSync(join(tmpdir(), "starling-reload-"));
    try {
      const file = join(directory, "starling.yaml");
      const load = (text: string): ReturnType<typeof loadConfig> => {
        writeFileSync(file, text);
        return loadConfig({ configFile: file });
      };
      const running = load("apps: [{ id: shop }]");
      expect(() => readAgain(running, load("# being written\n"), false)).toThrow(/yaml is empty: write \{\}/);
      expect(() => readAgain(running, loadConfig({}), false)).toThrow(/read at the start, is gone/);
      expect(readAgain(running, load("{}"), false).config.apps).toEqual([]);
      expect(readAgain(load(""), load(""), false).unapplied).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("changes what describes an app, and no limit of the node", () => {
    expect([...reloadedOptions].sort()).toEqual([
      "allowOpen",
      "apiKeys",
      "appId",
      "appKey",
      "appSecret",
      "apps",
      "jwtAlgorithm",
      "jwtAudience",
      "jwtClockToleranceMs",
      "jwtIssuer",
      "jwtJwksUrl",
      "jwtPublicKeyFile",
      "jwtSecret",
      "namespaces",
      "pusher",
    ]);
  });
});
