/** Applications: all that belongs to one (channels, users, sessions, presence, limits) is apart from all of another. */

import type { Authorizer } from "./authorizer.js";
import { setBounded } from "./bounded-map.js";
import type { ChannelKey } from "./broker.js";
import { channelKey } from "./channel.js";
import { CHANNEL_NAME_MAX } from "./channel-name.js";
import type { RulesOf } from "./channel-rules.js";
import { AppCounts } from "./stats.js";

/** The one that the top-level options describe, and that a client has which names none. */
export const DEFAULT_APP = "main";
/** What metrics call all apps together that have no label of their own: no app may be called so. */
export const OTHER_APPS = "other";

/** A text's hash is computed once: a key that is kept costs a look-up, a new one its whole length again and again. */
const KEYS_KEPT = 4_096;

/** For protocols whose clients or back ends sign. An app has several while one is replaced by another. */
export interface KeyPair {
  readonly key: string;
  readonly secret: string;
}

export interface AppSettings {
  readonly id: string;
  readonly authorizer: Authorizer;
  /** Of a channel by its whole name. */
  readonly rulesOf: RulesOf;
  /** None by default. */
  readonly keys?: readonly KeyPair[];
  /** On this node; Infinity, which is the default, sets no limit. */
  readonly maxConnections?: number;
  /** false: nobody is let in. true by default. */
  readonly enabled?: boolean;
  /** Of pages that may connect, or patterns of them, in place of the node's own; empty, which is the default: the node's. */
  readonly origins?: readonly string[];
  /** What is set for one protocol alone, by its name: the protocol knows the form, and what holds where nothing is set. */
  readonly protocolSettings?: Readonly<Record<string, unknown>>;
}

type Changeable = Required<Omit<AppSettings, "id">>;

function withDefaults(settings: AppSettings): Changeable {
  const { authorizer, rulesOf, keys = [], maxConnections = Infinity } = settings;
  const { enabled = true, origins = [], protocolSettings = {} } = settings;
  return { authorizer, rulesOf, keys, maxConnections, enabled, origins, protocolSettings };
}

/** Connections hold it, so it stays the same object as long as the app is served: only Apps.reload changes its settings. */
export class App implements AppSettings {
  readonly id: string;
  authorizer: Authorizer;
  rulesOf: RulesOf;
  keys: readonly KeyPair[];
  maxConnections: number;
  enabled: boolean;
  origins: readonly string[];
  protocolSettings: Readonly<Record<string, unknown>>;
  /** That are open on this node. */
  connections = 0;
  readonly counts = new AppCounts();
  readonly #keys = new Map<string, ChannelKey>();

  constructor(settings: AppSettings) {
    this.id = settings.id;
    const { authorizer, rulesOf, keys, maxConnections, enabled, origins, protocolSettings } =
      withDefaults(settings);
    this.authorizer = authorizer;
    this.rulesOf = rulesOf;
    this.keys = keys;
    this.maxConnections = maxConnections;
    this.enabled = enabled;
    this.origins = origins;
    this.protocolSettings = protocolSettings;
  }

  /** A channel's name on the bus. */
  keyOf(channel: string): ChannelKey {
    const known = this.#keys.get(channel);
    if (known !== undefined) return known;
    const key = channelKey(this.id, channel);
    // What a client sends may be asked for before it is known to be a name: as long as a frame, it would stay in memory.
    return channel.length > CHANNEL_NAME_MAX ? key : setBounded(this.#keys, KEYS_KEPT, channel, key);
  }
}

export class Apps implements Iterable<App> {
  #byId: ReadonlyMap<string, App>;
  #byKey: ReadonlyMap<string, App>;
  readonly main: App;

  /** @throws Error where there is no `main`, or two have one id */
  constructor(apps: readonly AppSettings[]) {
    this.#byId = byId(apps.map((settings) => (settings instanceof App ? settings : new App(settings))));
    this.#byKey = byKey(this.#byId);
    this.main = this.#byId.get(DEFAULT_APP)!;
  }

  get(id: string): App | undefined {
    return this.#byId.get(id);
  }

  /** The app that one of these key pairs is of. */
  ofKey(key: string): App | undefined {
    return this.#byKey.get(key);
  }

  [Symbol.iterator](): Iterator<App> {
    return this.#byId.values();
  }

  /**
   * Puts these in place of those there are. An app that stays keeps its object.
   * @returns those that are served no more
   * @throws Error as the constructor, before anything is changed
   */
  reload(all: readonly AppSettings[]): readonly App[] {
    const before = this.#byId;
    const after = byId(all.map((settings) => before.get(settings.id) ?? new App(settings)));
    for (const settings of all) Object.assign(after.get(settings.id)!, withDefaults(settings));
    this.#byId = after;
    this.#byKey = byKey(after);
    return [...before.values()].filter(({ id }) => !after.has(id));
  }
}

function byId(apps: readonly App[]): ReadonlyMap<string, App> {
  const found = new Map(apps.map((app) => [app.id, app]));
  if (!found.has(DEFAULT_APP) || found.size < apps.length) {
    throw new Error(`apps must have ids of their own, one of them ${DEFAULT_APP}`);
  }
  return found;
}

function byKey(apps: ReadonlyMap<string, App>): ReadonlyMap<string, App> {
  return new Map([...apps.values()].flatMap((app) => app.keys.map(({ key }) => [key, app] as const)));
}
