/** docker-compose.yml, Dockerfile and .env.example hold together: no Docker engine is needed to see it. */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/options.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: object;
  readonly logging?: { readonly options?: object };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** As Compose does, the inner one first: ${NAME}, ${NAME:-default}, ${NAME:-${OTHER}}, ${NAME:+what if it is set}. */
const VARIABLE = /\$\{(\w+)(?::([-+])([^${}]*))?\}/;
const text = read("docker-compose.yml");
const example = new Map(
  read(".env.example")
    .split("\n")
    .filter((line) => /^\w+=/.test(line))
    .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
);

function compose(env: ReadonlyMap<string, string>): Compose {
  const resolve = (value: unknown): unknown => {
    if (typeof value === "string") {
      const [whole, name = "", kind, rest = ""] = VARIABLE.exec(value) ?? [];
      if (whole === undefined) return value;
      const given = env.get(name) ?? "";
      const set = kind === "+" ? rest : given;
      const unset = kind === "-" ? rest : "";
      return resolve(value.replace(whole, () => (given === "" ? unset : set)));
    }
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
  };
  return resolve(parse(text, { merge: true })) as Compose;
}

const SECRETS = ["STARLING_JWT_SECRET", "STARLING_API_KEYS", "REDIS_PASSWORD", "GRAFANA_PASSWORD"];
const SECRET = "0123456789abcdef".repeat(4);
const filled = new Map([...example].map(([name, value]) => [name, SECRETS.includes(name) ? SECRET : value]));
const tryOut = new Map([...example, ["STARLING_ALLOW_OPEN", "true"]]);
const { services, volumes } = compose(filled);

describe("docker-compose.yml", () => {
  const schema = JSON.parse(read("test/support/compose-specification/compose-spec.json")) as Record<
    string,
    unknown
  >;
  // ajv knows draft 07 by its older address. Formats are the specification's own, such as its durations.
  delete schema["$schema"];
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);

  it("is what the Compose specification allows, with .env.example filled in, as it is, and with nothing", () => {
    for (const env of [filled, example, tryOut, new Map<string, string>()]) {
      validate(compose(env));
      expect(validate.errors).toBeNull();
    }
    // The schema is one that refuses.
    expect(validate({ services: { node: { imagine: "a" } } })).toBe(false);
    expect(validate({ services: { node: { image: "a", ulimits: { nofile: { soft: "x" } } } } })).toBe(false);
  });

  it("pins the tag of every image, those of the Dockerfile among them", () => {
    const images = [
      ...Object.values(services).map(({ image }) => image ?? ""),
      ...[...read("Dockerfile").matchAll(/^FROM (\S+)/gm)].map(([, image]) => image!),
    ];
    expect(images.length).toBeGreaterThanOrEqual(6);
    for (const image of images) expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*$/);
  });

  it("builds nodes under this package's version, with the Node and Debian that the suite runs on", () => {
    const { version } = JSON.parse(read("package.json")) as { version: string };
    expect(services["node"]!.image).toBe(`starling-edge:${version}`);
    const { node, debian } = JSON.parse(read("scripts/debian13/platform.json")) as {
      node: { version: string };
      debian: string;
    };
    expect([...new Set(read("Dockerfile").match(/^FROM \S+/gm))]).toEqual([
      `FROM node:${node.version}-${debian}-slim`,
    ]);
  });

  it("uses exactly the variables that .env.example explains", () => {
    const used = new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name));
    expect([...used].sort()).toEqual([...example.keys()].sort());
  });

  it("has the same defaults as .env.example, where that has any", () => {
    const defaults = [...text.matchAll(/\$\{(\w+):-([^${}]+)\}/g)];
    expect(defaults.length).toBeGreaterThan(8);
    for (const [, name, value] of defaults) {
      if (SECRETS.includes(name!)) continue;
      expect([name, value]).toEqual([name, example.get(name!)]);
    }
  });

  it("has no secret in .env.example, and keeps what a try-out has instead on this machine", () => {
    for (const name of [...SECRETS, "STARLING_APP_SECRET"])
      expect([name, example.get(name)]).toEqual([name, ""]);
    const { redis, grafana } = compose(tryOut).services;
    expect(grafana!.environment).toMatchObject({ GF_SECURITY_ADMIN_PASSWORD: "admin" });
    expect(grafana!.ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:/)]);
    expect(redis!.ports).toBeUndefined();
  });

  it("gives nodes a configuration with which they start, and one that they refuse where no secret is set", () => {
    const image = Object.fromEntries(
      [...read("Dockerfile").matchAll(/^(?:ENV)? +(\w+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
    );
    expect(image).toMatchObject({ NODE_ENV: "production", STARLING_API_HOST: "0.0.0.0" });
    const start = (env: ReadonlyMap<string, string>): Config =>
      loadConfig({ env: { ...image, ...compose(env).services["node"]!.environment } }).config;
    expect(start(filled)).toMatchObject({ jwtSecret: SECRET, apiKeys: [SECRET], clientAddressHops: 1 });
    expect(start(tryOut)).toMatchObject({ allowOpen: true, apiKeys: [] });
    expect(() => start(example)).toThrow("jwtSecret");
    // The demo page is for trying things out.
    expect([start(filled).demo, start(tryOut).demo]).toEqual([false, true]);
    expect(start(new Map([...filled, ["STARLING_DEMO", "true"]])).demo).toBe(true);
  });

  it("passes on an app for Pusher's clients, which needs no key for tokens", () => {
    const image = { NODE_ENV: "production", STARLING_API_HOST: "0.0.0.0" };
    const app = [
      ...[["STARLING_APP_ID", "7"] as const, ["STARLING_APP_KEY", "key"] as const],
      ...[["STARLING_APP_SECRET", SECRET] as const, ["STARLING_PUSHER", '{"clientEvents":true}'] as const],
    ];
    const env = new Map([...filled, ["STARLING_JWT_SECRET", ""] as const, ...app]);
    const { config } = loadConfig({ env: { ...image, ...compose(env).services["node"]!.environment } });
    const pair = { appId: "7", appKey: "key", appSecret: SECRET };
    expect(config).toMatchObject({ ...pair, jwtSecret: undefined, pusher: { clientEvents: true } });
  });

  it("mounts what is there, and only to be read", () => {
    const mounts = Object.values(services).flatMap((service) => service.volumes ?? []);
    expect(mounts.length).toBeGreaterThan(5);
    for (const mount of mounts) {
      const [source = "", , mode] = mount.split(":");
      if (!source.startsWith(".")) {
        expect(Object.keys(volumes)).toContain(source);
        continue;
      }
      expect([mount, existsSync(join(ROOT, source)), mode]).toEqual([mount, true, "ro"]);
    }
  });

  it("lets no service run as root, write to its image or keep a capability, and checks the health of each", () => {
    for (const [name, service] of Object.entries(services)) {
      const { read_only, cap_drop, user, build } = service;
      expect([name, read_only, cap_drop]).toEqual([name, true, ["ALL"]]);
      const runsAs = build === undefined ? user : /^USER (\S+)$/m.exec(read("Dockerfile"))?.[1];
      expect([name, runsAs ?? "root"]).not.toEqual([name, "root"]);
      const checked =
        build === undefined ? service.healthcheck !== undefined : /^HEALTHCHECK/m.test(read("Dockerfile"));
      expect([name, checked]).toEqual([name, true]);
      expect(service.logging?.options).toMatchObject({ "max-size": "10m" });
    }
  });

  it("opens nothing but the clients' port to other machines", () => {
    const ports = Object.values(services).flatMap((service) => service.ports ?? []);
    expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual(["8080:8080"]);
    expect(services["node"]!.ports).toBeUndefined();
    expect(services["redis"]!.ports).toBeUndefined();
  });

  it("has Envoy and Prometheus look for nodes where they are", () => {
    const dockerfile = read("Dockerfile");
    const port = (name: string): string => new RegExp(`${name}=(\\d+)`).exec(dockerfile)?.[1] ?? "";
    const envoy = read("envoy.yaml");
    expect(envoy).toContain(`address: node, port_value: ${port("STARLING_PORT")} `);
    expect(envoy).toContain(`health_check_config: { port_value: ${port("STARLING_API_PORT")} }`);
    const prometheus = parse(read("prometheus/prometheus.yml")) as {
      scrape_configs: { job_name: string; dns_sd_configs?: { names: string[]; port: number }[] }[];
    };
    const nodes = prometheus.scrape_configs.find(({ job_name }) => job_name === "starling");
    expect(nodes?.dns_sd_configs?.[0]).toMatchObject({
      names: ["node"],
      port: Number(port("STARLING_API_PORT")),
    });
    expect(Object.keys(services)).toEqual(
      expect.arrayContaining(["node", "redis", "envoy", "prometheus", "grafana"]),
    );
  });
});

describe("Dockerfile", () => {
  const dockerfile = read("Dockerfile");
  const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, list]) =>
    list!.split(" "),
  );

  it("copies what is there and what .dockerignore lets through", () => {
    const kept = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    expect(sources.length).toBeGreaterThan(4);
    for (const source of new Set(sources)) {
      expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
      const through = kept.includes(source) || kept.includes(`${dirname(source)}/`);
      expect([source, through]).toEqual([source, true]);
    }
    expect([...new Set(sources)].sort()).toEqual([...kept].sort());
  });
});
