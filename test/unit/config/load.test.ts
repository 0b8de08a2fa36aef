import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, configSchema, defaultConfig, loadConfig } from "../../../src/config.js";
import { envName, flagName, optionNames, optionOf } from "../../../src/config/options.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "starling-config-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function refusal(sources: Parameters<typeof loadConfig>[0]): string {
  try {
    loadConfig(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error("it was accepted");
}

describe("precedence", () => {
  it("refuses a file whose aliases contain themselves", () => {
    const directory = mkdtempSync(join(tmpdir(), "starling-alias-"));
    try {
      const configFile = join(directory, "starling.yaml");
      writeFileSync(configFile, "apps: &x [*x]\n");
      expect(() => loadConfig({ configFile })).toThrow(/yaml has an alias for something that contains it$/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("takes a flag before the environment, that before the file, that before the default", () => {
    const configFile = file("all.yaml", "port: 1003\napiPort: 1003\nbusShards: 3\n");
    const { config, origins } = loadConfig({
      flags: { port: "1001" },
      env: { STARLING_PORT: "1002", STARLING_API_PORT: "1002" },
      configFile,
    });
    expect([config.port, config.apiPort, config.busShards, config.busBatchItems]).toEqual([
      1001, 1002, 3, 1000,
    ]);
    expect(origins).toMatchObject({
      port: { kind: "flag", name: "--port" },
      apiPort: { kind: "env", name: "STARLING_API_PORT" },
      busShards: { kind: "file", path: configFile },
      busBatchItems: { kind: "default" },
    });
  });

  it("reads JSON and YAML files to the same values", () => {
    const yaml = file("same.yaml", "port: 81\ndemo: false\norigins:\n  - https://a.example\n");
    const json = file("same.json", '{"port": 81, "demo": false, "origins": ["https://a.example"]}');
    const pick = (configFile: string): unknown[] => {
      const { config } = loadConfig({ configFile });
      return [config.port, config.demo, config.origins];
    };
    expect(pick(yaml)).toEqual([81, false, ["https://a.example"]]);
    expect(pick(json)).toEqual(pick(yaml));
  });

  it("finds the file by STARLING_CONFIG", () => {
    const path = file("by-env.yaml", "port: 82");
    expect(loadConfig({ env: { STARLING_CONFIG: path } }).config.port).toBe(82);
  });

  it("takes an empty file and an empty variable as nothing set", () => {
    const configFile = file("empty.yaml", "# nothing\n");
    const { config, warnings } = loadConfig({
      env: { STARLING_JWT_SECRET: "", STARLING_PORT: "" },
      configFile,
    });
    expect([config.jwtSecret, config.port, warnings]).toEqual([undefined, 8000, []]);
  });

  it("reads the one file that is there, and does not choose between two", () => {
    const before = process.cwd();
    const here = mkdtempSync(join(directory, "here-"));
    process.chdir(here);
    try {
      writeFileSync("starling.config.yml", "port: 83");
      expect(loadConfig({})).toMatchObject({ file: "starling.config.yml", config: { port: 83 } });
      writeFileSync("starling.config.json", '{"port": 84}');
      expect(refusal({})).toBe(
        "starling.config.yml and starling.config.json are both in this directory: keep one, or name one with --config",
      );
      expect(loadConfig({ configFile: "starling.config.json" }).config.port).toBe(84);
      expect(loadConfig({ env: { STARLING_CONFIG: "starling.config.json" } }).config.port).toBe(84);
    } finally {
      process.chdir(before);
    }
  });

  it("splits lists at commas, and lets a flag empty the environment's", () => {
    const env = { STARLING_ORIGINS: "https://a.example, https://b.example:8443" };
    expect(loadConfig({ env }).config.origins).toEqual(["https://a.example", "https://b.example:8443"]);
    expect(loadConfig({ env, flags: { origins: "" } }).config.origins).toEqual([]);
  });
});

describe("typos", () => {
  it("says of an option that was removed what to do", () => {
    const hint = "it was removed; leave it out, as nodes tell each other what they read";
    const configFile = file("former.yaml", "busEnvelopeVersion: 1");
    expect(refusal({ flags: { busEnvelopeVersion: "1" } })).toBe(
      `unknown option --bus-envelope-version: ${hint}`,
    );
    expect(refusal({ env: { STARLING_BUS_ENVELOPE_VERSION: "1" } })).toBe(
      `unknown environment variable STARLING_BUS_ENVELOPE_VERSION: ${hint}`,
    );
    expect(refusal({ configFile })).toBe(`unknown option "busEnvelopeVersion" in ${configFile}: ${hint}`);
  });

  it("are refused with the nearest right name, wherever they are", () => {
    expect(refusal({ flags: { prot: "1" } })).toBe("unknown option --prot: did you mean --port?");
    expect(refusal({ env: { STARLING_PROT: "1" } })).toBe(
      "unknown environment variable STARLING_PROT: did you mean STARLING_PORT?",
    );
    expect(refusal({ env: { STARLING_API_KEY: "k", STARLING_REDIS_URL: "r", STARLING_SECRET: "s" } })).toBe(
      "unknown environment variable STARLING_API_KEY: did you mean STARLING_API_KEYS?\n" +
        "unknown environment variable STARLING_REDIS_URL: did you mean STARLING_REDIS?\n" +
        "unknown environment variable STARLING_SECRET: starling config lists all",
    );
    const configFile = file("typo.yaml", "prot: 1");
    expect(refusal({ configFile })).toBe(`unknown option "prot" in ${configFile}: did you mean port?`);
  });

  it("are told where a name belongs that is one of Pusher's settings or of an app's", () => {
    expect(refusal({ configFile: file("pusher.yaml", "clientEvents: true") })).toMatch(
      /: it is a setting of pusher: pusher: \{ clientEvents: \.\.\. \}$/,
    );
    expect(refusal({ env: { STARLING_CLIENT_EVENTS: "true" } })).toBe(
      `unknown environment variable STARLING_CLIENT_EVENTS: it is a setting of pusher: STARLING_PUSHER='{"clientEvents":...}'`,
    );
    expect(refusal({ flags: { clientEvents: "true" } })).toMatch(/: --pusher='\{"clientEvents":\.\.\.\}'$/);
    expect(refusal({ configFile: file("keys.yaml", "keys: []") })).toMatch(
      /: it is a setting of an app: of an entry of apps$/,
    );
  });

  it("are all told at once", () => {
    const lines = refusal({ flags: { prot: "1", busShards: "0" }, env: { STARLING_HOTS: "x" } }).split("\n");
    expect(lines).toHaveLength(3);
  });

  it("are not seen in variables that Kubernetes sets for a service of this name", () => {
    const env = {
      STARLING_PORT: "tcp://10.0.0.1:8000",
      STARLING_SERVICE_HOST: "10.0.0.1",
      STARLING_SERVICE_PORT_HTTP: "8000",
      STARLING_PORT_8000_TCP_ADDR: "10.0.0.1",
    };
    expect(loadConfig({ env }).config.port).toBe(8000);
  });

  it("in a name that objects inherit are refused too", () => {
    expect(refusal({ flags: { constructor: "1" } })).toMatch(/^unknown option --constructor/);
    const configFile = file("proto.json", '{"__proto__": 1}');
    expect(refusal({ configFile })).toMatch(/unknown option "__proto__"/);
  });
});

describe("bad values", () => {
  it("are shown with where they came from and what is allowed", () => {
    const allowed = "is not allowed: a whole number from 0 to 65535";
    expect(refusal({ flags: { port: "65536" } })).toBe(`--port: 65536 ${allowed}`);
    expect(refusal({ env: { STARLING_PORT: "8000x" } })).toBe(`STARLING_PORT: "8000x" ${allowed}`);
    const configFile = file("bad.yaml", "port: 1.5");
    expect(refusal({ configFile })).toBe(`port in ${configFile}: 1.5 ${allowed}`);
  });

  it.each([
    ["host", "http://x"],
    ["host", "localhost:80"],
    ["nodeId", "a b"],
    ["nodeId", "x".repeat(65)],
    ["redis", "http://127.0.0.1"],
    ["redis", "redis://"],
    ["redis", "redis+sentinel://a,b"],
    ["redis", "redis+sentinel://a/m/x"],
    ["redis", "redis+sentinel://a,,b/m"],
    ["redis", "redis+sentinel://a:0/m"],
    ["redis", "redis+cluster://a:65536"],
    ["redis", "redis+cluster://a/0"],
    ["redis", "redis+cluster://me:p@w@a"],
    ["redis", "redis+cluster://me:100%@a"],
    ["redis", "redis+other://a"],
    ["redis", "redis://h/cache"],
    ["redis", "redis://h?db=1"],
    ["redis", "redis://:100%@h"],
    ["redis", "unix://h"],
    ["redisTlsServerName", "redis.example:6379"],
    ["redisPrefix", "{a}"],
    ["busShards", "0"],
    ["heartbeatIntervalMs", "-1"],
    ["heartbeatIntervalMs", "1e4"],
    ["maxFrameBytes", "64k"],
    ["origins", "*"],
    ["origins", "https://a.example/"],
    ["origins", "https://a.example:443"],
    ["origins", "https://*"],
    ["origins", "https://*."],
    ["origins", "https://a.*.example"],
    ["origins", "https://*a.example"],
    ["origins", "https://*.*.example"],
    ["origins", "https://*.example:443"],
    ["origins", "*.example"],
    ["origins", "a.example"],
    ["jwtAlgorithm", "none"],
    ["jwtSecret", ""],
    ["apiKeys", "a b"],
    ["allowOpen", "yes"],
    ["logLevel", "loud"],
  ])("%s may not be %j", (name, value) => {
    expect(refusal({ flags: { [name]: value } })).toMatch(/ is not allowed: ./);
  });

  it.each([
    ["host", "::1"],
    ["host", "0.0.0.0"],
    ["redis", "rediss://user:pass@redis.example:6380/1"],
    ["redis", "redis+sentinel://user:p%40ss@a,b:26380,[::1]:7/mymaster"],
    ["redis", "redis+sentinel://a/mymaster/3"],
    ["redis", "rediss+cluster://:pass@a,10.0.0.1:7000"],
    ["redis", "unix:///run/redis/redis.sock?db=1"],
    ["origins", "http://localhost:3000,capacitor://localhost"],
    ["origins", "https://A.example,https://*.example:8443,null"],
    ["port", "0"],
    ["demo", "false"],
    ["demo", "TRUE"],
  ])("%s may be %j", (name, value) => {
    expect(() => loadConfig({ flags: { [name]: value } })).not.toThrow();
  });

  it("of secrets are hidden in what is said", () => {
    expect(refusal({ flags: { apiKeys: "hush hush" } })).not.toContain("hush");
    expect(refusal({ flags: { redis: "http://user:hush@host" } })).not.toContain("hush");
    expect(refusal({ flags: { redis: "user:hu@sh@host" } })).not.toMatch(/hu|sh@/);
    expect(refusal({ flags: { redis: "redis+cluster://user:hush@host/0" } })).not.toContain("hush");
    expect(refusal({ flags: { redisSentinelPassword: "hush" } })).not.toContain("hush");
    expect(
      refusal({ flags: { jwtSecret: "hush".repeat(8), jwtJwksUrl: "https://k.example" } }),
    ).not.toContain("hush");
  });

  it("show the same value as it is allowed, where that is plain", () => {
    expect(refusal({ flags: { drainMs: "30s" } })).toMatch(
      /a whole number from 0 to 3600000 \(ms\): write 30000$/,
    );
    expect(refusal({ flags: { maxFrameBytes: "64k" } })).toMatch(/\(bytes\): write 65536$/);
    expect(refusal({ flags: { maxConnections: "10_000" } })).toMatch(/\(connections\): write 10000$/);
    expect(refusal({ flags: { busShards: "1e1" } })).toMatch(/from 1 to 64: write 10$/);
    expect(refusal({ flags: { drainMs: "9000h" } })).toMatch(/from 0 to 3600000 \(ms\)$/);
    const configFile = file(
      "quotes.yaml",
      'port: "80"\nnodeId: 123\nredisSentinelPassword: 5\napiKeys: [12, ok]\n',
    );
    expect(refusal({ configFile }).split("\n")).toEqual([
      `port in ${configFile}: "80" is not allowed: a whole number from 0 to 65535: write it without quotes`,
      `nodeId in ${configFile}: 123 is not allowed: 1 to 64 of A-Z a-z 0-9 _ -: write it in quotes, "123"`,
      `redisSentinelPassword in ${configFile}: *** is not allowed: any text but the empty one: write it in quotes`,
      `apiKeys in ${configFile}: *** is not allowed: a list of keys, separated by commas: write it in quotes`,
    ]);
  });

  it("of a file that cannot be parsed are told by their place, in one line without the file's text", () => {
    for (const [name, content, message] of [
      ["tab.yaml", "port: 1\n\thost: x\n", /Tabs are not allowed as indentation at line 2, column 1$/],
      ["twice.yaml", "port: 1\nport: 2\n", /Map keys must be unique at line 2, column 1$/],
      ["quote.yaml", 'jwtSecret: "hush\nhush\n', /at line \d+, column \d+$/],
    ] as const) {
      const said = refusal({ configFile: file(name, content) });
      expect(said).toMatch(message);
      expect(said).not.toMatch(/\n|hush/);
    }
  });

  it("of a file that is no list of names and values are refused", () => {
    expect(refusal({ configFile: file("list.yaml", "- 1") })).toMatch(/must hold names and values/);
    expect(refusal({ configFile: file("broken.json", '{"port": ') })).toMatch(/cannot be read/);
    expect(refusal({ configFile: join(directory, "none.yaml") })).toMatch(/none.yaml cannot be read: ENOENT/);
    expect(refusal({ env: { STARLING_CONFIG: join(directory, "none.yaml") } })).toMatch(
      /none.yaml \(STARLING_CONFIG\) cannot be read: ENOENT/,
    );
  });
});

describe("rules between options", () => {
  it.each([
    [{ heartbeatTimeoutMs: "30000" }, /heartbeatTimeoutMs 30000 \(--heartbeat-timeout-ms\) must be below/],
    [{ port: "8001" }, /port 8001 \(--port\) and apiPort 8001 \(default\) are the same/],
    [{ jwtSecret: "x".repeat(32), jwtPublicKeyFile: "f" }, /at most one of/],
    [{ jwtSecret: "x".repeat(32), jwtAlgorithm: "RS256" }, /set jwtAlgorithm to HS256/],
    [{ jwtPublicKeyFile: "f" }, /set jwtAlgorithm to RS256 or ES256/],
    [{ jwtJwksUrl: "https://k.example", jwtAlgorithm: "HS256" }, /set jwtAlgorithm to RS256 or ES256/],
    [{ bytesBurst: "1000" }, /bytesBurst 1000 .* must be at least maxFrameBytes 65536/],
    [{ maxBufferedBytes: "2000" }, /maxBufferedBytes/],
    [{ maxPendingBytes: "2000" }, /maxPendingBytes/],
    [{ ingestChannel: "ws:bus" }, /ingestChannel/],
    [
      { redisTlsCaFile: "f" },
      /redisTlsCaFile .* needs TLS: redis, which is not set, must begin with rediss$/,
    ],
    [
      { redis: "redis://h", redisTlsServerName: "n", redisTlsCaFile: "f" },
      /redisTlsCaFile .* and redisTlsServerName .* need TLS: redis "redis:\/\/h" \(--redis\) must begin/,
    ],
    [{ redis: "rediss://h", redisTlsCertFile: "f" }, /redisTlsCertFile and redisTlsKeyFile are a pair/],
    [
      { redis: "redis://h", redisSentinelPassword: "p" },
      /redisSentinelPassword .* needs Sentinels: redis "redis:\/\/h" \(--redis\) must begin/,
    ],
    [{ apiHost: "0.0.0.0" }, /without an API key\. Set apiKeys, or allowOpen \(--allow-open\)/],
  ])("%j is refused", (flags, message) => {
    expect(refusal({ flags })).toMatch(message);
  });

  it("lets both ports be any free one", () => {
    expect(() => loadConfig({ flags: { port: "0", apiPort: "0" } })).not.toThrow();
  });

  it("refuses open mode in production unless it is asked for by name", () => {
    const env = { NODE_ENV: "production" };
    expect(refusal({ env })).toMatch(/Set jwtSecret, jwtPublicKeyFile or jwtJwksUrl, or allowOpen/);
    expect(() => loadConfig({ env, flags: { allowOpen: true } })).not.toThrow();
    expect(() => loadConfig({ env, flags: { jwtSecret: "x".repeat(32) } })).not.toThrow();
  });

  it("opens the API beyond loopback with keys or by name", () => {
    expect(() => loadConfig({ flags: { apiHost: "0.0.0.0", apiKeys: "k1" } })).not.toThrow();
    expect(loadConfig({ flags: { apiHost: "0.0.0.0", allowOpen: true } }).warnings.join()).toMatch(
      /has no keys/,
    );
  });

  it("refuses a token secret that can be guessed, with its length and not its text", () => {
    expect(refusal({ flags: { jwtSecret: "hush" } })).toBe(
      "--jwt-secret: *** (4 bytes) is not allowed: at least 32 bytes of text, such as openssl rand -hex 32 makes",
    );
    expect(refusal({ flags: { jwtSecret: "" } })).toContain('--jwt-secret: "" is not allowed');
    expect(loadConfig({ flags: { jwtSecret: "x".repeat(32) } }).warnings).toEqual([]);
    const apps = [{ id: "shop", apiKeys: ["k"] }];
    expect(loadConfig({ flags: { apps } }).warnings.join()).toMatch(/nobody can read \/metrics/);
    expect(loadConfig({ flags: { apps, apiKeys: "m" } }).warnings).toEqual([]);
  });
});

describe("an empty variable", () => {
  const env = { NODE_ENV: "production", STARLING_JWT_SECRET: "x".repeat(32) };

  it("in place of the fleet's Redis is refused in production, and warned of elsewhere", () => {
    for (const name of ["STARLING_REDIS", "STARLING_REDIS_FILE"]) {
      expect(refusal({ env: { ...env, [name]: "" } })).toMatch(
        new RegExp(
          `^${name} is empty: without Redis this node shares nothing with other nodes.*NODE_ENV=production.*remove it`,
        ),
      );
      expect(loadConfig({ env: { [name]: "" } }).warnings.join()).toMatch(
        /is empty: without Redis this node/,
      );
    }
    const configFile = file("fleet.yaml", "redis: redis://h");
    expect(loadConfig({ env: { ...env, STARLING_REDIS: "" }, configFile }).warnings).toEqual([]);
    expect(() => loadConfig({ env })).not.toThrow();
  });

  it("or a name without a value in a file is the same", () => {
    const configFile = file("no-redis.yaml", "redis:\njwtIssuer: ~\n");
    const alone = `redis in ${configFile} is empty: without Redis this node shares nothing with other nodes`;
    expect(refusal({ env, configFile })).toBe(
      `${alone}. With NODE_ENV=production that is refused: give it a URL, or remove it if that is meant`,
    );
    expect(loadConfig({ configFile }).warnings).toEqual([alone]);
    const { warnings } = loadConfig({ env: { ...env, STARLING_REDIS: "redis://h" }, configFile });
    expect(warnings).toEqual([`jwtIssuer in ${configFile} is empty: tokens of any issuer are accepted`]);
  });

  it("that takes a check away is warned of", () => {
    const { warnings } = loadConfig({
      env: {
        ...env,
        STARLING_JWT_AUDIENCE: "",
        STARLING_JWT_ISSUER: "",
        STARLING_TRUSTED_PROXIES: "",
        STARLING_CLIENT_ADDRESS_HOPS: "1",
        STARLING_ORIGINS: "",
      },
    });
    expect(warnings).toEqual([
      "STARLING_JWT_AUDIENCE is empty: tokens for any audience are accepted",
      "STARLING_JWT_ISSUER is empty: tokens of any issuer are accepted",
      "STARLING_TRUSTED_PROXIES is empty: X-Forwarded-For of any peer is believed",
    ]);
  });
});

describe("defaults", () => {
  it("are allowed", () => {
    expect(configSchema.parse(defaultConfig)).toEqual(defaultConfig);
    expect(loadConfig({}).warnings).toEqual([]);
  });

  it("serve the demo page, but not in production", () => {
    expect(loadConfig({}).config.demo).toBe(true);
    expect(loadConfig({ env: { NODE_ENV: "production" }, flags: { allowOpen: true } }).config.demo).toBe(
      false,
    );
  });

  it("give each node an id of its own", () => {
    const id = (): string => loadConfig({}).config.nodeId;
    expect(id()).toMatch(/^n-[0-9a-z]{6}$/);
    expect(id()).not.toBe(id());
  });
});

describe("secrets", () => {
  it("can stand in a file that a _FILE variable names", () => {
    const env = { STARLING_JWT_SECRET_FILE: file("secret", "from the file, which has 32 bytes\n") };
    const { config, origins } = loadConfig({ env });
    expect(config.jwtSecret).toBe("from the file, which has 32 bytes");
    expect(origins.jwtSecret).toEqual({ kind: "env", name: "STARLING_JWT_SECRET_FILE" });
  });

  it("in a file that is not there, is empty, or comes beside the variable are refused", () => {
    expect(refusal({ env: { STARLING_API_KEYS_FILE: join(directory, "none") } })).toMatch(/cannot be read/);
    expect(refusal({ env: { STARLING_API_KEYS_FILE: file("blank", "\n") } })).toMatch(/is empty/);
    const both = { STARLING_JWT_SECRET: "a", STARLING_JWT_SECRET_FILE: file("other", "b") };
    expect(refusal({ env: both })).toMatch(/both set/);
  });

  it("are the only options with a _FILE variable", () => {
    expect(refusal({ env: { STARLING_PORT_FILE: "x" } })).toBe(
      "unknown environment variable STARLING_PORT_FILE: only secrets can stand in a file; use STARLING_PORT",
    );
  });
});

describe("the option table", () => {
  it("refuses what it does not name", () => {
    expect(configSchema.safeParse({ ...defaultConfig, prot: 1 }).success).toBe(false);
  });

  it("has a unit in the name of every option that is a duration or a size", () => {
    for (const name of optionNames) {
      const { unit } = optionOf(name);
      expect(name.endsWith("Ms"), name).toBe(unit === "ms");
      if (unit === "bytes") expect(name).toMatch(/Bytes|bytes/);
    }
  });

  it("gives each option its own flag and variable", () => {
    expect(flagName("maxConnectionsPerIp")).toBe("--max-connections-per-ip");
    expect(envName("maxConnectionsPerIp")).toBe("STARLING_MAX_CONNECTIONS_PER_IP");
    expect(new Set(optionNames.map(envName)).size).toBe(optionNames.length);
  });

  it("is what docs/configuration.md says", async () => {
    const { configurationMarkdown } = await import("../../../src/config/markdown.js");
    const docs = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
    expect(docs).toBe(configurationMarkdown());
  });
});

describe("the options of the clients' port", () => {
  it("take a certificate and its key together", () => {
    expect(refusal({ flags: { tlsCertFile: "c.pem" } })).toMatch(/tlsCertFile and tlsKeyFile are a pair/);
    expect(refusal({ flags: { tlsKeyFile: "k.pem" } })).toMatch(/tlsCertFile and tlsKeyFile are a pair/);
    expect(refusal({ flags: { tlsKeyPassphrase: "p" } })).toMatch(/tlsKeyPassphrase is set without a key/);
  });

  it("take addresses and networks for proxies, with the number of proxies", () => {
    const { config } = loadConfig({
      flags: { clientAddressHops: "2", trustedProxies: "10.0.0.0/8,192.168.1.5, fd00::/8" },
    });
    expect(config.trustedProxies).toEqual(["10.0.0.0/8", "192.168.1.5", "fd00::/8"]);
    expect(refusal({ flags: { trustedProxies: "10.0.0.0/8" } })).toMatch(
      /has no effect with .*clientAddressHops/,
    );
    for (const wrong of ["envoy", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.1/", "10.0.0.0/8/8"]) {
      expect(refusal({ flags: { clientAddressHops: "1", trustedProxies: wrong } }), wrong).toMatch(
        /trustedProxies|trusted-proxies/,
      );
    }
  });
});
