/** Holds a value to a zod schema, and says in one sentence what is wrong with it. */

import type { z } from "zod";
import { checkChannelName } from "../core/channel-name.js";
import { StarlingError, quote } from "../core/errors.js";
import { suggest } from "../core/suggest.js";

export type ObjectSchema = z.ZodObject<Readonly<Record<string, z.ZodType>>>;

/** What is being checked, as errors name it and its fields. */
export type Subject = "body" | "query" | "path";

const FIELD: Readonly<Record<Subject, string>> = {
  body: "field",
  query: "query parameter",
  path: "path parameter",
};

/** @throws StarlingError bad_request, bad_channel */
export function check<T extends ObjectSchema>(schema: T, value: unknown, subject: Subject): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  // First: a misspelled field is also missing under its right name, which says less.
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]!;
  const at = valueAt(value, issue.path);
  // The grammar's own errors say more than a regular expression can.
  if (issue.path.at(-1) === "channel" && typeof at === "string") checkChannelName(at);
  throw new StarlingError("bad_request", describe(issue, at, subject, Object.keys(schema.shape)));
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at;
}

function describe(
  issue: z.core.$ZodIssue,
  value: unknown,
  subject: Subject,
  known: readonly string[],
): string {
  if (issue.code === "unrecognized_keys") return unknownField(issue.keys[0]!, known, subject);
  const label = issue.path.length === 0 ? `the ${subject}` : quote(issue.path.join("."));
  switch (issue.code) {
    case "invalid_type":
      return value === undefined
        ? `${label} is missing: it must be ${article(issue.expected)}`
        : `${label} must be ${article(issue.expected)}, not ${show(value)}`;
    case "too_small":
      return `${measure(label, value)}, at least ${issue.minimum} ${isOne(issue.minimum)} needed`;
    case "too_big":
      return `${measure(label, value)}, at most ${issue.maximum} ${isOne(issue.maximum)} allowed`;
    case "invalid_key":
      return `${label} is a key that is not allowed: ${issue.issues[0]?.message ?? issue.message}`;
    case "invalid_format":
      return `${label} ${issue.message}, not ${show(value)}`;
    case "custom":
      return issue.path.length === 0 ? issue.message : `${label} ${issue.message}`;
    default:
      return `${label} is ${show(value)}: ${issue.message}`;
  }
}

function unknownField(name: string, known: readonly string[], subject: Subject): string {
  const near = suggest(name, known);
  if (near !== undefined) return `unknown ${FIELD[subject]} ${quote(name)}: did you mean "${near}"?`;
  if (known.length === 0) return `unknown ${FIELD[subject]} ${quote(name)}: none is allowed here`;
  return `unknown ${FIELD[subject]} ${quote(name)}: allowed are ${known.join(", ")}`;
}

const ARTICLES: Readonly<Record<string, string>> = {
  array: "an array",
  boolean: "true or false",
  int: "an integer",
  number: "a number",
  object: "an object",
  record: "an object of strings",
  string: "a string",
};

function article(expected: string): string {
  return ARTICLES[expected] ?? expected;
}

function measure(label: string, value: unknown): string {
  if (typeof value === "string") return `${label} has ${value.length} characters`;
  if (Array.isArray(value)) return `${label} has ${value.length} items`;
  return `${label} is ${show(value)}`;
}

function isOne(limit: number | bigint): string {
  return Number(limit) === 1 ? "is" : "are";
}

/** Containers by kind: they may be of any size, and deeper than JSON.stringify can go. */
function show(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : quote(value);
}
