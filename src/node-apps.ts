/** The apps of a node, as its configuration has them: at the start, and each time that it is read again. */

import { isDeepStrictEqual } from "node:util";
import { appsOf, isClosed, type AppConfig, type Config } from "./config.js";
import { DEFAULT_APP, type AppSettings } from "./core/app.js";
import type { Authorizer } from "./core/authorizer.js";
import { rulesByNamespace } from "./core/channel-rules.js";
import { createAuthorizer, readTokenKey } from "./node-parts.js";
import { rulesByKind } from "./protocols/pusher/rules.js";
import { PUSHER } from "./protocols/pusher/settings.js";

/** What of an app's settings is another than before, by name. */
export interface ChangedApp {
  readonly app: string;
  readonly changed: readonly string[];
}

export interface AppChanges {
  readonly added: readonly string[];
  readonly changed: readonly ChangedApp[];
  readonly removed: readonly string[];
}

export interface LoadedApps {
  readonly settings: readonly AppSettings[];
  /** Of each app, by its id. */
  readonly apiKeys: ReadonlyMap<string, readonly string[]>;
  readonly changes: AppChanges;
  /** Apps that ask for no tokens, and did before or were not there: what is warned of. */
  readonly newlyOpen: readonly string[];
}

interface Known {
  readonly config: AppConfig;
  /** The key's own text, as its file may change while its path stays. */
  readonly tokenKey: string | undefined;
  /** As config/checks.ts has it. */
  readonly closed: boolean;
  readonly authorizer: Authorizer;
}

export class AppLoader {
  readonly #production: boolean;
  #known: ReadonlyMap<string, Known> = new Map();

  constructor({ production }: { readonly production: boolean }) {
    this.#production = production;
  }

  /**
   * What is loaded is the state that the next call compares with, once `accept` is called.
   * @throws Error naming the app and its setting, where a key cannot be read or is none
   */
  load(config: Config): LoadedApps & { readonly accept: () => void } {
    const known = new Map(appsOf(config).map((app) => [app.id, this.#know(app)]));
    const all = [...known.values()];
    return {
      settings: all.map(settingsOf),
      apiKeys: new Map(all.map(({ config: { id, apiKeys } }) => [id, apiKeys])),
      changes: changesBetween(this.#known, known),
      newlyOpen: all
        .filter(({ config: { id }, authorizer }) => {
          return !authorizer.required && this.#known.get(id)?.authorizer.required !== false;
        })
        .map(({ config: { id } }) => id),
      accept: () => {
        this.#known = known;
      },
    };
  }

  #know(config: AppConfig): Known {
    const before = this.#known.get(config.id);
    try {
      const tokenKey = readTokenKey(config);
      const closed = isClosed(config, this.#production);
      const isSame =
        before !== undefined &&
        before.tokenKey === tokenKey &&
        before.closed === closed &&
        isDeepStrictEqual(tokensOf(before.config), tokensOf(config));
      // One that stays keeps the key set that it has fetched.
      const authorizer = isSame ? before.authorizer : createAuthorizer(config, tokenKey, closed);
      return { config, tokenKey, closed, authorizer };
    } catch (error) {
      if (config.id === DEFAULT_APP) throw error;
      throw new Error(`app ${config.id}: ${(error as Error).message}`, { cause: error });
    }
  }
}

function settingsOf({ config, authorizer }: Known): AppSettings {
  const { id, namespaces, keys, maxConnections, enabled, origins, pusher } = config;
  const rulesOf = rulesByNamespace(namespaces);
  return {
    ...{ id, authorizer, keys, enabled, origins },
    rulesOf: keys.length === 0 ? rulesOf : rulesByKind(rulesOf, pusher),
    maxConnections: maxConnections === 0 ? Infinity : maxConnections,
    protocolSettings: { [PUSHER]: pusher },
  };
}

function tokensOf(app: AppConfig): Partial<AppConfig> {
  const { jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl } = app;
  const { jwtAudience, jwtIssuer, jwtClockToleranceMs } = app;
  return {
    ...{ jwtAlgorithm, jwtSecret, jwtPublicKeyFile, jwtJwksUrl },
    ...{ jwtAudience, jwtIssuer, jwtClockToleranceMs },
  };
}

function changesBetween(before: ReadonlyMap<string, Known>, after: ReadonlyMap<string, Known>): AppChanges {
  const changed: ChangedApp[] = [];
  for (const [app, now] of after) {
    const then = before.get(app);
    const names = then === undefined ? [] : changedSettings(then, now);
    if (names.length > 0) changed.push({ app, changed: names });
  }
  return {
    added: [...after.keys()].filter((id) => !before.has(id)),
    changed,
    removed: [...before.keys()].filter((id) => !after.has(id)),
  };
}

/** Of namespaces and of Pusher's settings one by one. */
function changedSettings(before: Known, after: Known): string[] {
  const names = (Object.keys(after.config) as (keyof AppConfig)[]).flatMap((name) => {
    const [then, now] = [before.config[name], after.config[name]];
    if (isDeepStrictEqual(then, now)) return [];
    return name === "namespaces" || name === "pusher"
      ? changedParts(name, before.config[name], after.config[name])
      : [name];
  });
  if (before.tokenKey !== after.tokenKey && !names.includes("jwtPublicKeyFile"))
    names.push("jwtPublicKeyFile");
  return names;
}

function changedParts(of: string, before: object, after: object): string[] {
  const parts = new Map<string, unknown>(Object.entries(before));
  const now = new Map<string, unknown>(Object.entries(after));
  return [...new Set([...parts.keys(), ...now.keys()])]
    .filter((name) => !isDeepStrictEqual(parts.get(name), now.get(name)))
    .map((name) => `${of}.${name}`);
}
