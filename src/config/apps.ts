/** The option `apps`: applications besides `main`, which the options at the top level describe. */

import { z } from "zod";
import { DEFAULT_APP, OTHER_APPS } from "../core/app.js";
import { didYouMean } from "../core/suggest.js";
import { apiKeys, tokenOptions } from "./app-options.js";
import { flag, integer, isObject, jsonOrText, text, type Kind } from "./kinds.js";
import { namespaces } from "./namespaces.js";

/** One field of an app's entry. */
export interface Field<S extends z.ZodType = z.ZodType> {
  readonly kind: Kind<S>;
  /** Where the entry does not say; an id has none. */
  readonly default: z.output<S> | undefined;
  readonly unit?: string;
  readonly description: string;
}

const field = <S extends z.ZodType>(declared: Field<S>): Field<S> => declared;

const ID_CHARACTERS_MAX = 64;
const ID = new RegExp(`^[A-Za-z0-9_-]{1,${ID_CHARACTERS_MAX}}$`);
const ID_ALLOWED = `an id is 1 to ${ID_CHARACTERS_MAX} of A-Z a-z 0-9 _ -`;

const PAIRS_ALLOWED = "a list of pairs { key, secret }";
const PAIR_ALLOWED = "a pair is { key, secret } and nothing else";
const KEY_ALLOWED = "a key is 1 to 128 of A-Z a-z 0-9 _ -";
const SECRET_ALLOWED = "a secret is 16 to 256 printable ASCII characters without spaces";
const matching = (pattern: RegExp, error: string): z.ZodString =>
  z.string({ error }).regex(pattern, { error });

const keyPairs = {
  schema: z.array(
    z.strictObject(
      {
        key: matching(/^[A-Za-z0-9_-]{1,128}$/, KEY_ALLOWED),
        secret: matching(/^[!-~]{16,256}$/, SECRET_ALLOWED),
      },
      { error: PAIR_ALLOWED },
    ),
    { error: PAIRS_ALLOWED },
  ),
  allowed: `${PAIRS_ALLOWED}; ${KEY_ALLOWED}, one app's alone; ${SECRET_ALLOWED}`,
  placeholder: undefined,
  fromText: jsonOrText,
} satisfies Kind;

export const appFields = {
  id: field({
    kind: text(ID_ALLOWED, (id) => ID.test(id)),
    default: undefined,
    description: "what clients name the app by; never `main`",
  }),
  ...tokenOptions,
  allowOpen: field({
    kind: flag(),
    default: false,
    description: "serve the app without a key for tokens where NODE_ENV=production",
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
      "keys with their secrets, for protocols that sign with them; several, so that they can be replaced",
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

const IS_OTHER = "metrics call all apps together so that are beyond the first hundred";

type Problem = (path: readonly (string | number)[], message: string) => void;

/** @returns undefined: refused, and told to `problem` */
function readEntry(given: unknown, index: number, problem: Problem): AppConfig | undefined {
  if (!isObject(given)) return void problem([index], ENTRY_ALLOWED);
  const { id } = given;
  const name = typeof id === "string" && ID.test(id) ? id : index;
  let sound = true;
  const refuse = (path: readonly (string | number)[], message: string): void => {
    sound = false;
    problem([name, ...path], message);
  };
  if (id === DEFAULT_APP) refuse(["id"], IS_MAIN);
  if (id === OTHER_APPS) refuse(["id"], IS_OTHER);
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
    const isListText = key === "apiKeys" && typeof value === "string";
    const read = kind.schema.safeParse(isListText ? kind.fromText(value) : (value ?? otherwise));
    if (value !== null && read.success) values[key] = read.data;
    else if (read.success) refuse([key], kind.allowed);
    else {
      // An item of a text that is a list is nowhere in what was given.
      for (const { path, message } of read.error.issues) {
        refuse(isListText ? [key] : [key, ...(path as (string | number)[])], message);
      }
    }
  }
  return sound ? (values as AppConfig) : undefined;
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

/** Where a text stops being JSON, as far as that is known: nothing of it is shown, as it holds secrets. */
function whereBroken(json: string): string {
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
export function isSecretOfApps([, field, , part]: readonly PropertyKey[]): boolean {
  return field === "keys" ? part !== "key" : !OPEN_FIELDS.has(field ?? "");
}
