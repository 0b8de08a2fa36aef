/** Where Redis is, as a URL says it: one server, a master that Sentinels watch, or a Cluster. */

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Several {
  readonly endpoints: readonly Endpoint[];
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

export type RedisTarget =
  /** ioredis reads the URL itself. */
  | { readonly kind: "single"; readonly url: string; readonly tls: boolean }
  | ({ readonly kind: "sentinel"; readonly masterName: string; readonly db: number } & Several)
  | ({ readonly kind: "cluster" } & Several);

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
const SEVERAL = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^@?#]*))?$/i;
const ENDPOINT = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/i;

/** @throws Error saying what a URL looks like, without the password */
export function parseTarget(url: string): RedisTarget {
  if (url.startsWith("/")) return { kind: "single", url, tls: false };
  if (/^rediss?:\/\/./i.test(url) && URL.canParse(url)) {
    return { kind: "single", url, tls: /^rediss:/i.test(url) };
  }
  const [, scheme, kind, user, hosts, path = ""] = SEVERAL.exec(url) ?? [];
  if (scheme === undefined || kind === undefined || hosts === undefined) throw wrong(url);
  const sentinel = kind.toLowerCase() === "sentinel";
  const several: Several = {
    endpoints: hosts.split(",").map((host) => endpoint(host, sentinel ? SENTINEL_PORT : REDIS_PORT, url)),
    tls: scheme.toLowerCase() === "rediss",
    ...credentials(user, url),
  };
  if (!sentinel) {
    if (path !== "") throw wrong(url);
    return { kind: "cluster", ...several };
  }
  const [, masterName, db = "0"] = /^([^/]+)(?:\/(\d+))?$/.exec(path) ?? [];
  if (masterName === undefined) throw wrong(url);
  return { kind: "sentinel", masterName: decode(masterName, url), db: Number(db), ...several };
}

function endpoint(text: string, defaultPort: number, url: string): Endpoint {
  const [, host, port] = ENDPOINT.exec(text) ?? [];
  if (host === undefined) throw wrong(url);
  return { host: host.replace(/^\[|\]$/g, ""), port: port === undefined ? defaultPort : Number(port) };
}

function credentials(user: string | undefined, url: string): Pick<Several, "username" | "password"> {
  if (user === undefined || user === "") return { username: undefined, password: undefined };
  const [name = "", ...rest] = user.split(":");
  const password = rest.join(":");
  return {
    username: name === "" ? undefined : decode(name, url),
    password: password === "" ? undefined : decode(password, url),
  };
}

function decode(text: string, url: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new Error(`${JSON.stringify(redact(url))} has a % that begins no escape`, { cause: error });
  }
}

function wrong(url: string): Error {
  return new Error(
    `${JSON.stringify(redact(url))} is no Redis URL: use redis://[user:password@]host[:port][/db], ` +
      "redis+sentinel://[user:password@]host[:port],.../master-name[/db] or " +
      "redis+cluster://[user:password@]host[:port],...; rediss for TLS",
  );
}

/** The URL without its password, for logs and `starling config`. */
export function redact(url: string): string {
  return url.replace(/^([a-z+]*:?\/\/[^:@/?]*):.*@/i, "$1:***@").replace(/([?&]password=)[^&]*/gi, "$1***");
}

/** `host:port`, several of them, or the socket's path: what an error names. */
export function address(url: string): string {
  if (url.startsWith("/")) return url.split("?", 1)[0]!;
  try {
    const target = parseTarget(url);
    if (target.kind === "single") {
      const { hostname, port } = new URL(url);
      return `${hostname}:${port === "" ? REDIS_PORT : port}`;
    }
    const list = target.endpoints.map(({ host, port }) => `${host}:${port}`).join(",");
    return target.kind === "cluster" ? `Cluster ${list}` : `${target.masterName} of Sentinels ${list}`;
  } catch {
    return redact(url);
  }
}

/** What must not be shown anywhere, as it is and as the URL writes it. */
export function secretsOf(url: string): string[] {
  let raw = "";
  if (/^rediss?:/i.test(url)) raw = URL.canParse(url) ? new URL(url).password : "";
  else raw = SEVERAL.exec(url)?.[3]?.replace(/^[^:]*:?/, "") ?? "";
  if (raw === "") return [];
  try {
    return [raw, decodeURIComponent(raw)];
  } catch {
    return [raw];
  }
}
