/** Puts a configuration together from flags, environment, file and defaults, in that precedence. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import { quote } from "../core/errors.js";
import { fieldNames } from "./apps.js";
import { emptyValues } from "./empty-values.js";
import { isObject } from "./kinds.js";
import { foreignVariables } from "./foreign-variables.js";
import { pusherFieldNames } from "./pusher.js";
import { inPlainNumbers } from "./units.js";
import { redact } from "../redis/link/redis-url.js";
import { didYouMean } from "../core/suggest.js";
import { brokenRules, risks } from "./checks.js";
import { openFileLimit } from "./descriptors.js";
import {
  defaultOf,
  ENV_PREFIX,
  envName,
  flagName,
  optionNames,
  optionOf,
  type Config,
  type OptionName,
} from "./options.js";

/** What errors say of a name that is near to none. */
const SEE_LIST = "starling config lists all";

/** Options that there were, and what to do now. */
const FORMER_OPTIONS = new Map([
  ["busEnvelopeVersion", "it was removed; leave it out, as nodes tell each other what they read"],
]);

/** What an error says of a name that is no option's: with the name's form in flags, the environment or the file. */
function unknownHint(given: string, form: (name: string) => string, known: readonly string[]): string {
  for (const [name, hint] of FORMER_OPTIONS) if (given === form(name)) return hint;
  const setting = pusherFieldNames.find((name) => given === form(name));
  if (setting !== undefined) {
    const whole = form("pusher");
    const written = whole === "pusher" ? `pusher: { ${setting}: ... }` : `${whole}='{"${setting}":...}'`;
    return `it is a setting of pusher: ${written}`;
  }
  if (fieldNames.some((name) => given === form(name)))
    return "it is a setting of an app: of an entry of apps";
  return didYouMean(given, known, SEE_LIST);
}

/** The configuration is refused; the message has one line per reason. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Where a value came from: a flag, an environment variable, a file's path or the default. */
export type Origin =
  | { readonly kind: "flag" | "env"; readonly name: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "default" };

export interface LoadedConfig {
  readonly config: Config;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  /** Path of the config file that was read. */
  readonly file: string | undefined;
  /** Nothing stands in it, not even `{}`. */
  readonly fileIsEmpty: boolean;
  /** Allowed, and worth a warning. */
  readonly warnings: readonly string[];
}

export interface ConfigSources {
  /** By option name in camel case; text is parsed as a flag's value. Undefined: not given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Path of a JSON or YAML file. Without it STARLING_CONFIG's, or the one of DEFAULT_FILES that is there. */
  readonly configFile?: string | undefined;
}

export const DEFAULT_FILES = ["starling.config.yaml", "starling.config.yml", "starling.config.json"] as const;
const FILE_VARIABLE = `${ENV_PREFIX}CONFIG`;

interface Given {
  readonly value: unknown;
  readonly origin: Origin;
}
type Found = Map<OptionName, Given>;

interface FileContent {
  readonly found: Found;
  /** Options that the file names without a value. */
  readonly empty: readonly OptionName[];
  readonly isEmpty: boolean;
}

/** @throws ConfigError naming each value that is refused, where it came from and what is allowed */
export function loadConfig({ flags = {}, env = {}, configFile }: ConfigSources): LoadedConfig {
  const file = configFile ?? (env[FILE_VARIABLE] || defaultFile());
  const fileFrom = configFile === undefined && env[FILE_VARIABLE] ? ` (${FILE_VARIABLE})` : "";
  const problems: string[] = [];
  const fromConfigFile: FileContent =
    file === undefined ? { found: new Map(), empty: [], isEmpty: false } : fromFile(file, fileFrom, problems);
  const layers: Found[] = [fromFlags(flags, problems), fromEnv(env, problems), fromConfigFile.found];
  const production = env["NODE_ENV"] === "production";
  const fileLimit = openFileLimit();
  const values: Partial<Record<OptionName, unknown>> = {};
  const origins = {} as Record<OptionName, Origin>;
  for (const name of optionNames) {
    const given = layers.map((layer) => layer.get(name)).find((found) => found !== undefined);
    const { value, origin } = given ?? {
      value: defaultOf(name, { production, fileLimit }),
      origin: { kind: "default" } satisfies Origin,
    };
    const checked = optionOf(name).kind.schema.safeParse(value);
    if (!checked.success) {
      // One value may break several rules that have the same to say.
      const refusals = checked.error.issues.map((issue) => refusal(name, value, origin, issue));
      problems.push(...new Set(refusals));
    }
    values[name] = checked.success ? checked.data : value;
    origins[name] = origin;
  }
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  const config = values as Config;
  const emptyInFile = (option: OptionName): string | undefined =>
    file !== undefined && fromConfigFile.empty.includes(option) ? `${option} in ${file}` : undefined;
  const empty = emptyValues(config, { env, emptyInFile, production });
  if (empty.error !== undefined) throw new ConfigError(empty.error);
  const name = (option: OptionName): string =>
    `${option} ${shown(option, config[option])} (${place(option, origins[option])})`;
  const broken = brokenRules(config, { production, name });
  if (broken.length > 0) throw new ConfigError(broken.join("\n"));
  return {
    config,
    origins,
    file,
    fileIsEmpty: fromConfigFile.isEmpty,
    warnings: [...empty.warnings, ...risks(config, fileLimit), ...foreignVariables(env, config)],
  };
}

function holdsItself(content: unknown, above: readonly unknown[] = []): boolean {
  if (typeof content !== "object" || content === null) return false;
  if (above.includes(content)) return true;
  return Object.values(content).some((part) => holdsItself(part, [...above, content]));
}

/** Loaded where a file is read: it takes 7 MB. */
function yaml(): typeof Yaml {
  return createRequire(import.meta.url)("yaml") as typeof Yaml;
}

/** @throws ConfigError if several are there: each could be the one that was meant */
function defaultFile(): string | undefined {
  const [file, ...others] = DEFAULT_FILES.filter((path) => existsSync(path));
  if (others.length > 0) {
    throw new ConfigError(
      `${[file, ...others].join(" and ")} are ${others.length > 1 ? "all" : "both"} in this directory: keep one, or name one with --config`,
    );
  }
  return file;
}

function fromFlags(flags: Readonly<Record<string, unknown>>, problems: string[]): Found {
  const found: Found = new Map();
  for (const [key, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    if (!isOption(key)) {
      problems.push(unknownFlag(flagName(key)));
      continue;
    }
    const parsed = typeof value === "string" ? optionOf(key).kind.fromText(value) : value;
    found.set(key, { value: parsed, origin: { kind: "flag", name: flagName(key) } });
  }
  return found;
}

function fromEnv(env: Readonly<Record<string, string | undefined>>, problems: string[]): Found {
  const byVariable = new Map(optionNames.map((name) => [envName(name), name]));
  // A secret can also be kept in a file, as container platforms mount them: STARLING_JWT_SECRET_FILE.
  const byFileVariable = new Map(
    optionNames
      .filter((name) => optionOf(name).secret !== undefined)
      .map((name) => [`${envName(name)}_FILE`, name]),
  );
  const found: Found = new Map();
  for (const [variable, raw] of Object.entries(env)) {
    // Set but empty is how compose files say "not set".
    if (!variable.startsWith(ENV_PREFIX) || raw === undefined || raw === "") continue;
    if (variable === FILE_VARIABLE || isServiceLink(variable, raw)) continue;
    const option = byVariable.get(variable) ?? byFileVariable.get(variable);
    if (option === undefined) {
      const known = [...byVariable.keys(), ...byFileVariable.keys(), FILE_VARIABLE];
      const plain = variable.replace(/_FILE$/, "");
      const hint = byVariable.has(plain)
        ? `only secrets can stand in a file; use ${plain}`
        : unknownHint(variable, envName, known);
      problems.push(`unknown environment variable ${variable}: ${hint}`);
    } else if (found.has(option)) {
      problems.push(`${envName(option)} and ${envName(option)}_FILE are both set: keep one`);
    } else {
      const text = byVariable.has(variable) ? raw : readSecret(variable, raw, problems);
      if (text !== undefined) {
        found.set(option, {
          value: optionOf(option).kind.fromText(text),
          origin: { kind: "env", name: variable },
        });
      }
    }
  }
  return found;
}

/**
 * Kubernetes sets variables in Docker's link format for each service of the
 * namespace, so a service called "starling" brings STARLING_PORT=tcp://10.0.0.1:80
 * and STARLING_SERVICE_HOST: not meant for us.
 */
function isServiceLink(variable: string, value: string): boolean {
  return (
    /_SERVICE_(HOST|PORT(_\w+)?)$/.test(variable) ||
    (/_PORT$/.test(variable) && /^(tcp|udp|sctp):\/\//.test(value)) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable)
  );
}

function readSecret(variable: string, path: string, problems: string[]): string | undefined {
  try {
    const text = readFileSync(path, "utf8").trim();
    if (text === "") problems.push(`${path} (${variable}) is empty: it must hold the secret`);
    else return text;
  } catch (error) {
    problems.push(`${variable} names a file that cannot be read: ${(error as Error).message}`);
  }
  return undefined;
}

function fromFile(path: string, from: string, problems: string[]): FileContent {
  const found: Found = new Map();
  const empty: OptionName[] = [];
  let content: unknown;
  try {
    // YAML 1.2 reads JSON too.
    content = yaml().parse(readFileSync(path, "utf8"));
  } catch (error) {
    // Below its first line a syntax error shows lines of the file, which may hold secrets.
    const [reason = ""] = (error as Error).message.trim().split("\n", 1);
    throw new ConfigError(`config file ${path}${from} cannot be read: ${reason.replace(/:$/, "")}`, {
      cause: error,
    });
  }
  if (holdsItself(content)) {
    throw new ConfigError(`config file ${path}${from} has an alias for something that contains it`);
  }
  // An empty file sets nothing.
  if (content === null) return { found, empty, isEmpty: true };
  if (typeof content !== "object" || Array.isArray(content)) {
    throw new ConfigError(
      `config file ${path}${from} must hold names and values, as in "port: 8000", not ${quote(content)}`,
    );
  }
  for (const [key, value] of Object.entries(content)) {
    if (!isOption(key)) {
      problems.push(`unknown option ${quote(key)} in ${path}: ${unknownHint(key, String, optionNames)}`);
    } else if (value === null) {
      empty.push(key);
    } else {
      const isListText = Array.isArray(optionOf(key).default) && typeof value === "string";
      const parsed: unknown = isListText ? optionOf(key).kind.fromText(value) : value;
      found.set(key, { value: parsed, origin: { kind: "file", path } });
    }
  }
  return { found, empty, isEmpty: false };
}

function isOption(key: string): key is OptionName {
  return (optionNames as readonly string[]).includes(key);
}

/** The sentence for a flag that does not exist, with the nearest one that does among `others` and the options. */
export function unknownFlag(given: string, others: readonly string[] = []): string {
  const known = [...optionNames.map(flagName), ...others];
  return `unknown option ${given}: ${unknownHint(given, flagName, known)}`;
}

function refusal(
  name: OptionName,
  value: unknown,
  origin: Origin,
  { path, message }: { readonly path: readonly PropertyKey[]; readonly message: string },
): string {
  const at = path.reduce(partOf, value);
  // Within an object the place says more than the value; an item of a list is its own name.
  const label = path.every((key) => typeof key === "number") ? "" : `${path.map(String).join(".")} `;
  const hint = path.every((key) => typeof key === "number") ? hintFor(name, at, path.length > 0, origin) : "";
  return `${place(name, origin)}: ${label}${refused(name, at, path)} is not allowed: ${message}${hint}`;
}

/** An item of a list can also be named by its `id`. */
function partOf(whole: unknown, key: PropertyKey): unknown {
  if (Array.isArray(whole) && typeof key === "string") {
    return whole.find((item: unknown) => isObject(item) && item["id"] === key) as unknown;
  }
  const holds = typeof whole === "object" && whole !== null && Object.hasOwn(whole, key);
  return holds ? (whole as Record<PropertyKey, unknown>)[key] : undefined;
}

/** A refused value: of a secret, how long it is. */
function refused(name: OptionName, value: unknown, path: readonly PropertyKey[]): string {
  const { secret } = optionOf(name);
  const hidden = secret === "value" || (typeof secret === "function" && secret(path));
  if (!hidden || value === undefined || typeof value === "object") return shown(name, value, quote, path);
  if (typeof value !== "string") return "***";
  return value === "" ? '""' : `*** (${Buffer.byteLength(value)} bytes)`;
}

/** The same value in a form that is allowed, where that is plain to see. */
function hintFor(name: OptionName, value: unknown, inList: boolean, origin: Origin): string {
  const { kind, unit, secret } = optionOf(name);
  const allowed = (other: unknown): boolean => kind.schema.safeParse(inList ? [other] : other).success;
  const inUnit = unit === undefined || typeof kind.fromText("1") !== "number" ? "" : ` (${unit})`;
  if (typeof value === "string") {
    const other = kind.fromText(value);
    if (origin.kind === "file" && other !== value && allowed(other))
      return `${inUnit}: write it without quotes`;
    const meant = inPlainNumbers(value, unit);
    if (meant !== undefined && allowed(meant)) return `${inUnit}: write ${meant}`;
  } else if (origin.kind === "file" && /^(number|boolean)$/.test(typeof value) && allowed(String(value))) {
    return `: write it in quotes${secret === undefined ? `, "${String(value)}"` : ""}`;
  }
  return inUnit;
}

function place(name: OptionName, origin: Origin): string {
  if (origin.kind === "file") return `${name} in ${origin.path}`;
  return origin.kind === "default" ? "default" : origin.name;
}

/**
 * A value as it may be shown: secrets hidden.
 * @param path  where in the option's value it stands
 */
export function shown(
  name: OptionName,
  value: unknown,
  show: (value: unknown) => string = quote,
  path: readonly PropertyKey[] = [],
): string {
  const { secret } = optionOf(name);
  if (typeof secret === "function" && value !== undefined) return show(withoutParts(value, secret, path));
  if (secret === "value" && value !== undefined && !(Array.isArray(value) && value.length === 0))
    return "***";
  if (secret === "password" && typeof value === "string") return show(redact(value));
  return value === undefined ? "none" : show(value);
}

/** What is left of a value once the parts are hidden for which `isSecret` is true. */
function withoutParts(
  value: unknown,
  isSecret: (path: readonly PropertyKey[]) => boolean,
  path: readonly PropertyKey[],
): unknown {
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => withoutParts(item, isSecret, [...path, index]));
  }
  if (isObject(value)) {
    const parts = Object.entries(value);
    return Object.fromEntries(
      parts.map(([key, part]) => [key, withoutParts(part, isSecret, [...path, key])]),
    );
  }
  return isSecret(path) && value !== undefined ? "***" : value;
}
