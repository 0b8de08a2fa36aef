/** The option `apps`: applications besides `main`, which the options at the top level describe. */

import { z } from "zod";
import { DEFAULT_APP } from "../core/app.js";
import { didYouMean } from "../core/suggest.js";
import { apiKeys, appId, isAppId, pairKey, pairSecret, tokenOptions } from "./app-options.js";
import { flag, integer, isObject, jsonOrText, originList, whereBroken, type Kind } from "./kinds.js";
import { namespaces } from "./namespaces.js";
import { field, type Field } from "./option.js";
import { isSecretOfPusher, pusher, pusherDefaults } from "./pusher.js";

const PAIRS_ALLOWED = "a list of pairs { key, secret }";
const PAIR_ALLOWED = "a pair is { key, secret } and nothing else";

const pairFields = { key: pairKey.schema, secret: pairSecret.schema };
const pairFieldNames = Object.keys(pairFields);

/** What a name that a pair does not have was meant to be is not told as missing too. */
const keyPair = z
  .unknown()
  .superRefine((pair, context) => {
    if (!isObject(pair)) return;
    for (const name of Object.keys(pair)) {
      if (Object.hasOwn(pairFields, name)) continue;
      const message = didYouMean(name, pairFieldNames, "leave it out");
      context.addIssue({ code: "custom", path: [name], message: `${PAIR_ALLOWED}: ${message}` });
    }
  })
  .pipe(z.object(pairFields, { error: PAIR_ALLOWED }));

const keyPairs = {
  schema: z.array(keyPair, { error: PAIRS_ALLOWED }),
  allowed: `${PAIRS_ALLOWED}; ${pairKey.allowed}, one app's alone; ${pairSecret.allowed}`,
  placeholder: undefined,
  fromText: jsonOrText,
} satisfies Kind;

export const appFields = {
  id: field({
    kind: appId,
    default: undefined,
    defaultText: "none: it must be given",
    description: "what clients name the app by; never `main`",
  }),
  enabled: field({
    kind: flag(),
    default: true,
    description: "false: nobody is let in, and who is connected is sent away",
  }),
  ...tokenOptions,
  allowOpen: field({
    kind: flag(),
    default: false,
    description:
      "let clients in without tokens where NODE_ENV=production too, if the app has no key for tokens",
  }),
  origins: field({
    kind: originList,
    default: [],
    description: "origins that browsers may connect from, in place of the node's; empty: those of the node",
  }),
  namespaces: field({
    kind: namespaces,
    default: {},
    description: "what the app's channels keep and tell, as the option `namespaces`",
  }),
  apiKeys: field({
    kind: apiKeys.kind,
    default: [],
    description: "keys that open the server API, for this app alone; without any the app has no API",
  }),
  keys: field({
    kind: keyPairs,
    default: [],
    description:
      "keys with their secrets, for Pusher's clients and back ends; several, so that they can be replaced",
  }),
  pusher: field({
    kind: pusher,
    default: pusherDefaults,
    defaultText: "those listed below",
    description: "limits and features of the app's Pusher clients and back ends, as the option `pusher`",
  }),
  maxConnections: field({
    kind: integer(0, 10_000_000),
    default: 0,
    unit: "connections",
    description: "most connections of the app on this node; 0: as many as the node takes",
  }),
};

export type FieldName = keyof typeof appFields;
export const fieldNames = Object.keys(appFields) as FieldName[];
/** The table without its types. */
export const fieldOf = (name: FieldName): Field => appFields[name];

export type AppConfig = {
  readonly [Name in FieldName]: z.output<(typeof appFields)[Name]["kind"]["schema"]>;
};

const ALLOWED = "a list with the settings of each app, as JSON in a flag or variable";
const ENTRY_ALLOWED = "the settings of an app are an object with an id";
const IS_MAIN = `the options at the top level are those of the app ${DEFAULT_APP}`;

type Problem = (path: readonly (string | number)[], message: string) => void;

/** @returns undefined: refused, and told to `problem` */
function readEntry(given: unknown, index: number, problem: Problem): AppConfig | undefined {
  if (!isObject(given)) return void problem([index], ENTRY_ALLOWED);
  const { id } = given;
  const name = isAppId(id) ? id : index;
  let sound = true;
  const refuse = (path: readonly (string | number)[], message: string): void => {
    sound = false;
    problem([name, ...path], message);
  };
  if (id === DEFAULT_APP) refuse(["id"], IS_MAIN);
  const unknown = Object.keys(given).filter((key) => !Object.hasOwn(appFields, key));
  for (const key of unknown) {
    const hint = didYouMean(key, fieldNames, `settings are ${fieldNames.join(", ")}`);
    refuse([key], `there is no such setting of an app: ${hint}`);
  }
  const values: Partial<Record<FieldName, unknown>> = {};
  for (const key of fieldNames) {
    const { kind, default: otherwise } = fieldOf(key);
    const value = Object.hasOwn(given, key) ? given[key] : undefined;
    // As at the top level a list may be one text.
    const isListText = kind.placeholder === "<list>" && typeof value === "string";
    const read = kind.schema.safeParse(isListText ? kind.fromText(value) : (value ?? otherwise));
    if (value !== null && read.success) values[key] = read.data;
    else if (read.success) refuse([key], kind.allowed);
    else {
      // An item of a text that is a list is nowhere in what was given.
      for (const issue of read.error.issues) {
        const { path, message } = issue;
        // An id of digits alone is a number in YAML and JSON.
        const wantsText = issue.code === "invalid_type" && issue.expected === "string";
        const hint = wantsText && typeof partAt(value, path) === "number" ? ": write it in quotes" : "";
        refuse(isListText ? [key] : [key, ...(path as (string | number)[])], message + hint);
      }
    }
  }
  return sound ? (values as AppConfig) : undefined;
}

function partAt(whole: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown>)[key], whole);
}

/** Ids and keys name one app each. */
function checkUnique(found: readonly AppConfig[], problem: Problem): void {
  const ids = new Set<string>();
  const owners = new Map<string, string>();
  for (const { id, keys } of found) {
    if (ids.has(id)) problem([id, "id"], "another app has this id too");
    ids.add(id);
    for (const [index, { key }] of keys.entries()) {
      const owner = owners.get(key);
      if (owner !== undefined) {
        problem([id, "keys", index, "key"], `app ${owner} has this key too: a key is of one app, once`);
      }
      owners.set(key, id);
    }
  }
}

const schema = z.unknown().transform((given, context): readonly AppConfig[] => {
  const problem: Problem = (path, message) => {
    context.addIssue({ code: "custom", path: [...path], message });
  };
  if (!Array.isArray(given)) {
    problem([], typeof given === "string" ? `${ALLOWED}${whereBroken(given)}` : ALLOWED);
    return z.NEVER;
  }
  const entries = given.map((entry: unknown, index) => readEntry(entry, index, problem));
  const found = entries.filter((entry) => entry !== undefined);
  checkUnique(found, problem);
  return found;
});

export const apps: Kind<typeof schema> = {
  schema,
  allowed: `${ALLOWED}; the settings are listed below`,
  placeholder: "<json>",
  fromText: jsonOrText,
};

const OPEN_FIELDS: ReadonlySet<PropertyKey> = new Set(
  fieldNames.filter((name) => name !== "jwtSecret" && name !== "apiKeys" && name !== "keys"),
);

/** Of a field that does not exist too: a secret may stand there. @param path  app, field and what is in it */
export function isSecretOfApps([, field, ...parts]: readonly PropertyKey[]): boolean {
  if (field === "keys") return parts[1] !== "key";
  return field === "pusher" ? isSecretOfPusher(parts) : !OPEN_FIELDS.has(field ?? "");
}
