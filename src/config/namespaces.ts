/** The option `namespaces`: what channels do besides delivering, by what stands before their first colon, or by a prefix. */

import { z } from "zod";
import { CHANNEL_NAME_MAX } from "../core/channel-name.js";
import { didYouMean } from "../core/suggest.js";
import { flag, integer, isObject, jsonOrText, oneOf, type Kind } from "./kinds.js";

/** One rule of a namespace, as a config file has it. */
export interface Rule<S extends z.ZodType = z.ZodType> {
  readonly kind: Kind<S>;
  /** Where the namespace does not say, and of channels in no namespace. */
  readonly default: z.output<S>;
  readonly unit?: "publications" | "ms" | "bytes";
  readonly description: string;
  /** Why this default. */
  readonly reason: string;
}

const rule = <S extends z.ZodType>(declared: Rule<S>): Rule<S> => declared;

export const rules = {
  historySize: rule({
    kind: integer(0, 10_000),
    default: 0,
    unit: "publications",
    description: "how many of the newest publications a channel keeps; 0 keeps none",
    reason: "history costs memory and a write per publication: only where it is asked for",
  }),
  historyTtlMs: rule({
    kind: integer(1000, 7 * 86_400_000),
    default: 600_000,
    unit: "ms",
    description: "how long after its last publication a channel's history is kept",
    reason: "longer than most clients are away, and an abandoned channel is soon gone",
  }),
  historyBytes: rule({
    kind: integer(1024, 2 ** 30),
    default: 8 * 1024 * 1024,
    unit: "bytes",
    description:
      "bytes of publications that a channel keeps, at most about twice as many, whatever historySize says",
    reason: "100 publications of the largest size fit, and one client cannot fill Redis through one channel",
  }),
  recovery: rule({
    kind: flag(),
    default: false,
    description: "who comes back gets what was missed, or is told that it is lost; needs history",
    reason: "a promise is made where the application asked for it",
  }),
  presence: rule({
    kind: flag(),
    default: false,
    description: "subscribers can ask who is in the channel",
    reason: "tells clients of each other, and costs a write per subscription",
  }),
  joinLeave: rule({
    kind: flag(),
    default: false,
    description: "subscribers are told who comes and goes; needs presence",
    reason: "in a channel of thousands every arrival would be a message to all",
  }),
  publish: rule({
    kind: oneOf(["anyone", "subscribers", "server"]),
    default: "anyone",
    description: "who may send, besides what tokens say: anyone, who is subscribed, only the server API",
    reason: "tokens are where senders are normally restricted",
  }),
  replayLast: rule({
    kind: flag(),
    default: false,
    description: "a new subscriber gets the last publication at once; needs history",
    reason: "right for a state, such as a price; wrong for a conversation",
  }),
  slowReader: rule({
    kind: oneOf(["disconnect", "repair", "latest"]),
    default: "disconnect",
    description:
      "who reads too slowly is closed; or skipped and, once drained, served what it missed (repair) or the newest only (latest), which need history",
    reason: "without history nothing could be served later",
  }),
};
export type RuleName = keyof typeof rules;
export const ruleNames = Object.keys(rules) as RuleName[];

type RuleValues = { readonly [Name in RuleName]: z.output<(typeof rules)[Name]["kind"]["schema"]> };

/** The rules of a namespace as core takes them: its ChannelRules. */
export interface NamespaceRules extends Omit<RuleValues, "historySize" | "historyTtlMs" | "historyBytes"> {
  readonly history:
    { readonly size: number; readonly ttlMs: number; readonly bytes?: number | undefined } | undefined;
}
export type Namespaces = Readonly<Record<string, NamespaceRules>>;

/** A channel's own characters but for the colon, which ends the namespace, #, which is the server's, and *. */
const NAMESPACE_NAME = /^[!$-)+-9;-[\]-~]+$/;
/** The beginning of a channel that is not the server's. */
const PREFIX = /^[!$-)+-[\]-~][!#-)+-[\]-~]*\*$/;
/** With its colon it has to fit into a channel's name; a prefix with a character behind it. */
const NAMESPACE_NAME_MAX = CHANNEL_NAME_MAX - 1;
const NAME_ALLOWED = `a namespace is 1 to ${NAMESPACE_NAME_MAX} characters: printable ASCII without space, ", \\, :, # and *`;
const PREFIX_ALLOWED = `"*" stands at the end, behind a prefix of channel names: 1 to ${NAMESPACE_NAME_MAX} characters of those that channels have, as in private-chat-*`;

/** What is wrong with a name, or nothing. */
function wrongName(name: string): string | undefined {
  if (!name.includes("*")) {
    const isSound = NAMESPACE_NAME.test(name) && name.length <= NAMESPACE_NAME_MAX && name !== "__proto__";
    return isSound ? undefined : NAME_ALLOWED;
  }
  return PREFIX.test(name) && name.length - 1 <= NAMESPACE_NAME_MAX ? undefined : PREFIX_ALLOWED;
}

const ALLOWED = "an object with the rules of each namespace, as JSON in a flag or variable";
const RULES_ALLOWED = "an object with the rules of the namespace";

type Problem = (path: readonly string[], message: string) => void;

/** undefined: refused, and told to `problem`. */
function readRules(name: string, given: unknown, problem: Problem): NamespaceRules | undefined {
  if (!isObject(given)) return void problem([name], RULES_ALLOWED);
  let sound = true;
  const refuse = (path: readonly string[], message: string): void => {
    sound = false;
    problem([name, ...path], message);
  };
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(flat(given))) {
    if (!Object.hasOwn(rules, key)) {
      refuse(
        [key],
        `there is no such rule: ${didYouMean(key, ruleNames, `rules are ${ruleNames.join(", ")}`)}`,
      );
      continue;
    }
    const { kind } = rules[key as RuleName];
    if (!kind.schema.safeParse(value).success) refuse([key], kind.allowed);
    values[key] = value;
  }
  if (!sound) return undefined;
  const read = Object.fromEntries(
    ruleNames.map((key) => [key, values[key] ?? rules[key].default]),
  ) as RuleValues;
  const { historySize, historyTtlMs, historyBytes, ...others } = read;
  if (historySize === 0) {
    const needsHistory = `it needs history: set ${name}.historySize`;
    if (read.recovery) refuse(["recovery"], needsHistory);
    if (read.replayLast) refuse(["replayLast"], needsHistory);
    if (read.slowReader !== "disconnect") refuse(["slowReader"], needsHistory);
  }
  if (read.joinLeave && !read.presence) {
    refuse(["joinLeave"], `it needs presence: set ${name}.presence to true`);
  }
  if (!sound) return undefined;
  const history =
    historySize === 0 ? undefined : { size: historySize, ttlMs: historyTtlMs, bytes: historyBytes };
  return { history, ...others };
}

/** In code a namespace has the form that a Config has: it is read too, so that a Config is a valid one. */
function flat(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Object.hasOwn(given, "history")) return given;
  const { history, ...others } = given;
  if (history === undefined) return others;
  if (!isObject(history) || !/^(bytes,)?size,ttlMs$/.test(Object.keys(history).sort().join())) return given;
  const { size, ttlMs, bytes } = history;
  return {
    historySize: size,
    historyTtlMs: ttlMs,
    ...(bytes === undefined ? {} : { historyBytes: bytes }),
    ...others,
  };
}

const schema = z.unknown().transform((given, context): Namespaces => {
  const problem: Problem = (path, message) => {
    context.addIssue({ code: "custom", path: [...path], message });
  };
  if (!isObject(given)) {
    problem([], ALLOWED);
    return z.NEVER;
  }
  const read: Record<string, NamespaceRules> = {};
  for (const [name, value] of Object.entries(given)) {
    const wrong = wrongName(name);
    if (wrong !== undefined) {
      problem([name], wrong);
      continue;
    }
    const found = readRules(name, value, problem);
    if (found !== undefined) read[name] = found;
  }
  return read;
});

export const namespaces: Kind<typeof schema> = {
  schema,
  allowed: `${ALLOWED}; the rules are listed below`,
  placeholder: "<json>",
  fromText: jsonOrText,
};
