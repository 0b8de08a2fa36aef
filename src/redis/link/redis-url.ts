/** Where Redis is, as a URL says it: one server, a master that Sentinels watch, or a Cluster. */

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A Unix socket. */
export interface SocketPath {
  readonly path: string;
}

interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

interface Common extends Credentials {
  readonly tls: boolean;
}

export type RedisTarget =
  | ({ readonly kind: "single"; readonly server: Endpoint | SocketPath; readonly db: number } & Common)
  | ({
      readonly kind: "sentinel";
      readonly endpoints: readonly Endpoint[];
      readonly masterName: string;
      readonly db: number;
    } & Common)
  | ({ readonly kind: "cluster"; readonly endpoints: readonly Endpoint[] } & Common);

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;

export const REDIS_URL_FORMS =
  "redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],.../master-name[/db] or " +
  "redis+cluster://[user:password@]host[:port],..., each with rediss for TLS; " +
  "or unix://[user:password@]/path/of/socket[?db=number]";

const URL_FORM = /^(redis|rediss)(\+sentinel|\+cluster)?:\/\/(?:(.*)@)?([^@]*)$/is;
const SOCKET_FORM = /^(?:(?:redis\+)?unix:\/\/(?:([^/@]*)@)?)?(\/[^?#]+)(?:\?([^#]*))?$/i;
const ENDPOINT = /^(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/i;

/** A URL that cannot be used; the message says why, and never holds the password. */
class Refusal extends Error {}

/** @throws Error saying what is wrong with the URL, without the password */
export function parseRedisUrl(url: string): RedisTarget {
  try {
    return read(url);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Error(`${JSON.stringify(redact(url))} is not a Redis URL: ${error.message}`, { cause: error });
  }
}

/** What is wrong with a Redis URL, or nothing. */
export function wrongTarget(url: string): string | undefined {
  try {
    read(url);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

function read(url: string): RedisTarget {
  if (/^(\/|(redis\+)?unix:)/i.test(url)) return readSocket(url);
  const [, scheme, kind, user, rest = ""] = URL_FORM.exec(url) ?? [];
  if (scheme === undefined) throw new Refusal(`use ${REDIS_URL_FORMS}`);
  const common: Common = { tls: scheme.toLowerCase() === "rediss", ...credentials(user) };
  const [, hosts = "", path = "", query] = /^([^/?#]*)(?:\/([^?#]*))?(?:[?#](.*))?$/s.exec(rest) ?? [];
  if (query !== undefined) refuseParameters(query, []);
  if (kind?.toLowerCase() === "+sentinel") {
    const [, masterName, db = ""] = /^([^/]+)(?:\/([^/]*))?$/.exec(path) ?? [];
    if (masterName === undefined) {
      throw new Refusal(
        "after the Sentinels comes the name of the master that they watch: redis+sentinel://host,host/mymaster",
      );
    }
    return {
      kind: "sentinel",
      endpoints: endpoints(hosts, SENTINEL_PORT),
      masterName: decode(masterName, "the master's name"),
      db: database(db),
      ...common,
    };
  }
  if (kind !== undefined) {
    if (path !== "") throw new Refusal("a Cluster has one database: nothing may follow its hosts");
    return { kind: "cluster", endpoints: endpoints(hosts, REDIS_PORT), ...common };
  }
  const [server, other] = endpoints(hosts, REDIS_PORT);
  if (server === undefined || other !== undefined) {
    throw new Refusal(
      "several hosts are redis+sentinel://host,host/master-name or redis+cluster://host,host",
    );
  }
  return { kind: "single", server, db: database(path), ...common };
}

function readSocket(url: string): RedisTarget {
  const [, user, path, query = ""] = SOCKET_FORM.exec(url) ?? [];
  if (path === undefined) {
    throw new Refusal("a Unix socket is unix://[user:password@]/path/of/socket[?db=number]");
  }
  const parameters = refuseParameters(query, ["db"]);
  return {
    kind: "single",
    server: { path: decode(path, "the path") },
    db: database(parameters.get("db") ?? ""),
    tls: false,
    ...credentials(user),
  };
}

/** Other clients' parameters, by what says the same here. */
const PARAMETERS: readonly (readonly [names: RegExp, instead: string])[] = [
  [/^(db|database)$/i, "the database is the URL's path, as in redis://host/1"],
  [/^(tls|ssl.*)$/i, "TLS is rediss:// in place of redis://, its files are redisTlsCaFile and the like"],
  [/^(key_?)?prefix$/i, "the prefix of all keys is the option redisPrefix"],
  [/^(user(name)?|pass(word)?|auth)$/i, "user and password stand before the host: user:password@host"],
  [/time_?out/i, "the time-out is the option redisCommandTimeoutMs"],
];

/** @throws Refusal naming the first parameter that is not among `allowed` */
function refuseParameters(query: string, allowed: readonly string[]): URLSearchParams {
  const parameters = new URLSearchParams(query);
  const wrong = [...parameters.keys()].find((name) => !allowed.includes(name));
  if (wrong !== undefined) {
    const instead = PARAMETERS.find(([names]) => names.test(wrong))?.[1];
    throw new Refusal(
      `the parameter ${JSON.stringify(wrong.slice(0, 40))} is not known: ${instead ?? "options of the connection are Starling's own (docs/configuration.md)"}`,
    );
  }
  if (parameters.size === 0 && query !== "") throw new Refusal("nothing may follow the ? or #");
  const twice = allowed.find((name) => parameters.getAll(name).length > 1);
  if (twice !== undefined) throw new Refusal(`the parameter "${twice}" is given twice`);
  return parameters;
}

function endpoints(hosts: string, defaultPort: number): Endpoint[] {
  return hosts.split(",").map((text) => {
    if (text === "") throw new Refusal("a host is missing: host[:port], several separated by commas");
    const [, host, port] = ENDPOINT.exec(text) ?? [];
    if (host === undefined) {
      const colon = text.lastIndexOf(":");
      // What follows the colon may be a password whose @host was forgotten.
      throw new Refusal(
        /^[\w.-]+:/.test(text)
          ? `behind ${JSON.stringify(text.slice(0, colon))} comes a port, which is a number up to 65535, or, ` +
              "if that is a user, password@host"
          : `${JSON.stringify(text.slice(0, 100))} is not host[:port]`,
      );
    }
    const number = port === undefined ? defaultPort : Number(port);
    if (number < 1 || number > 65_535) {
      throw new Refusal(`port ${port} of ${JSON.stringify(host)} is not allowed: a number from 1 to 65535`);
    }
    return { host: host.replace(/^\[|\]$/g, ""), port: number };
  });
}

function database(text: string): number {
  if (text === "") return 0;
  if (!/^\d{1,9}$/.test(text)) {
    throw new Refusal(`${JSON.stringify(text.slice(0, 40))} is not a database: databases are numbers from 0`);
  }
  return Number(text);
}

const ESCAPES: Readonly<Record<string, string>> = { "/": "%2F", "?": "%3F", "#": "%23", "@": "%40" };

function credentials(user: string | undefined): Credentials {
  if (user === undefined || user === "") return { username: undefined, password: undefined };
  const raw = /[/?#@]/.exec(user)?.[0];
  if (raw !== undefined) {
    throw new Refusal(
      `the user's name or password holds a ${raw}, which is written ${ESCAPES[raw]} there ` +
        "(and : is %3A in a name, % is %25)",
    );
  }
  const [name = "", ...rest] = user.split(":");
  const password = rest.join(":");
  return {
    username: name === "" ? undefined : decode(name, "the user's name"),
    password: password === "" ? undefined : decode(password, "the password"),
  };
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) {
      throw new Refusal(`${what} has a % that does not begin an escape: write %25 for it`);
    }
    throw error;
  }
}

/** The URL without its password, for logs, errors and `starling config`; whatever was given for one. */
export function redact(url: string): string {
  return (
    url
      .replace(/^((?:[^:/]*:\/\/)?[^:@]*):(?!\/\/).*@/s, "$1:***@")
      // No host behind it, and no port either: it may be a password whose @host was forgotten.
      .replace(/^([^:]*:\/\/[^:@/?#[]*):(?!\*\*\*@|\d{1,5}(?:[,/?#]|$))[^@,/?#]*/s, "$1:***")
      .replace(/([?&](?:pass\w*|auth)=)[^&]*/gi, "$1***")
  );
}

/** `host:port`, several of them, or the socket's path: what an error names. */
export function address(url: string): string {
  if (wrongTarget(url) !== undefined) return redact(url);
  const target = parseRedisUrl(url);
  if (target.kind === "single") {
    const { server } = target;
    return "path" in server ? server.path : hostPort(server);
  }
  const list = target.endpoints.map(hostPort).join(",");
  return target.kind === "cluster" ? `Cluster ${list}` : `${target.masterName} of Sentinels ${list}`;
}

function hostPort({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What must not be shown anywhere, as it is and as the URL writes it. */
export function secretsOf(url: string): string[] {
  const raw = /^(?:[^:]*:\/\/)[^:@/]*:(.*)@/s.exec(url)?.[1] ?? "";
  if (raw === "") return [];
  try {
    const plain = decodeURIComponent(raw);
    return plain === raw ? [raw] : [raw, plain];
  } catch (error) {
    if (error instanceof URIError) return [raw];
    throw error;
  }
}
