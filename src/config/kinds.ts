/** The kinds of values that options have: how each is read from text, checked and described. */

import { isIP } from "node:net";
import { z } from "zod";
import { REDIS_URL_FORMS, wrongTarget } from "../redis/link/redis-url.js";

export interface Kind<S extends z.ZodType = z.ZodType> {
  readonly schema: S;
  /** What is allowed, to end the sentence "... is not allowed:". */
  readonly allowed: string;
  /** The placeholder in help; none for switches. */
  readonly placeholder: string | undefined;
  /** From a flag or an environment variable. What cannot be read stays text, for the schema to refuse. */
  fromText(text: string): unknown;
}

// URL.parse came late in Node 20.
function parseUrl(value: string): URL | undefined {
  return URL.canParse(value) ? new URL(value) : undefined;
}

const asIs = (text: string): unknown => text;

/** What is no JSON stays text, for the schema to refuse. */
export function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** Where a text stops being JSON, as far as that is known: nothing of it is shown, as it holds secrets. */
export function whereBroken(json: string): string {
  try {
    JSON.parse(json);
    return "";
  } catch (error) {
    const [, position] = /at position (\d+)/.exec((error as Error).message) ?? [];
    return position === undefined
      ? "; it is no JSON"
      : `; it is no JSON from character ${Number(position) + 1} on`;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function integer(min: number, max: number): Kind<z.ZodNumber> {
  const allowed = `a whole number from ${min} to ${max}`;
  const error = allowed;
  return {
    schema: z.int({ error }).min(min, { error }).max(max, { error }),
    allowed,
    placeholder: "<n>",
    fromText: (text) => (/^-?\d+$/.test(text) ? Number(text) : text),
  };
}

export function flag(): Kind<z.ZodBoolean> {
  const allowed = "true or false";
  return {
    schema: z.boolean({ error: allowed }),
    allowed,
    placeholder: undefined,
    fromText: (text) => {
      const lower = text.toLowerCase();
      return lower === "true" || lower === "1" ? true : lower === "false" || lower === "0" ? false : text;
    },
  };
}

export function oneOf<const V extends readonly [string, ...string[]]>(values: V) {
  const allowed = values.length === 1 ? values[0] : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
  return {
    schema: z.enum(values, { error: allowed }),
    allowed,
    placeholder: `<${values.join("|")}>`,
    fromText: asIs,
  } satisfies Kind;
}

/** Text that `allows` accepts; without it, any text but the empty one. */
export function text(
  allowed = "any text but the empty one",
  allows: (value: string) => boolean = (value) => value.length > 0,
  placeholder = "<text>",
): Kind<z.ZodString> {
  return {
    schema: z.string({ error: allowed }).refine(allows, { error: allowed }),
    allowed,
    placeholder,
    fromText: asIs,
  };
}

export function url(...schemes: readonly string[]): Kind<z.ZodString> {
  const prefixes = schemes.map((scheme) => `${scheme}://`);
  return text(
    `a URL that begins with ${prefixes.join(" or ")}`,
    (value) =>
      prefixes.some((prefix) => value.startsWith(prefix)) && (parseUrl(value)?.hostname ?? "") !== "",
    "<url>",
  );
}

export const host = text(
  "a host name or address without a port",
  (value) => /^[\w.:%[\]-]+$/.test(value) && !/^[^:]*:\d*$/.test(value),
  "<host>",
);

/** One Redis, a master that Sentinels watch, or a Cluster. */
export function redisUrl(): Kind<z.ZodString> {
  const schema = z.string({ error: REDIS_URL_FORMS }).superRefine((value, context) => {
    const problem = wrongTarget(value);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  });
  return { schema, allowed: REDIS_URL_FORMS, placeholder: "<url>", fromText: asIs };
}

/** A list; as text its items are separated by commas. `wrong` says what is wrong with an item, or nothing. */
export function list(itemsAllowed: string, wrong: (item: string) => string | undefined) {
  const allowed = `a list of ${itemsAllowed}, separated by commas`;
  const split = (value: string): string[] =>
    value
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
  const item = z.string({ error: allowed }).superRefine((value, context) => {
    const problem = wrong(value);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
  });
  return {
    schema: z.array(item, { error: allowed }),
    allowed,
    placeholder: "<list>",
    fromText: split,
  } satisfies Kind;
}

export function optional<S extends z.ZodType>(kind: Kind<S>): Kind<z.ZodOptional<S>> {
  return { ...kind, schema: kind.schema.optional() };
}

/** What is wrong with an allowed origin, which core/origins.ts compares with the Origin header. */
export function wrongOrigin(origin: string): string | undefined {
  if (origin === "*") return "to allow any origin, leave the list empty";
  // What pages of files and of sandboxed frames send, whoever wrote them.
  if (origin === "null") return undefined;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/i.test(origin)) {
    return "an origin is scheme://host or scheme://host:port, without a path or a slash at its end";
  }
  const [before, ...behind] = origin.split("*");
  if (behind.length > 0 && (behind.length > 1 || !before!.endsWith("://") || !/^\.[^.]/.test(behind[0]!))) {
    return `"*" stands for one or more labels before a host's name, as in https://*.example.com`;
  }
  const sent = parseUrl(origin.replace("*", "star"))?.origin.replace("star", "*");
  // Schemes that URL does not know, as capacitor://, have the origin "null" here.
  if (sent === undefined || sent === "null" || sent === origin.toLowerCase()) return undefined;
  return `browsers send this origin as ${sent}`;
}

/** What is wrong with an address or a network, or nothing. */
export function wrongNetwork(value: string): string | undefined {
  const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  const most = isIP(address) === 6 ? 128 : 32;
  if (isIP(address) === 0) return "an address as 10.1.2.3, or a network as 10.0.0.0/8 or fd00::/8";
  return Number(bits ?? 0) > most ? `behind the slash stands a number of bits, at most ${most}` : undefined;
}

export const originList = list("origins (scheme://host[:port] or scheme://*.host[:port])", wrongOrigin);
