/** Users come, go, reload and change nodes in presence channels while nodes are killed or stand still and Redis loses its record. */

import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { until } from "./clients.js";
import { startFleet, type Fleet, type FleetNode } from "./fleet.js";
import { PresenceChecker, type PresenceVerdict } from "./presence-checker.js";
import { openTab, PRESENCE_APP, type Tab } from "./presence-tab.js";
import type { PresenceTimes } from "./presence-truth.js";
import type { PresenceEvidence, PresenceHarm } from "./presence-view.js";
import { createRandom } from "./random.js";

export interface PresenceOptions {
  /** Of acting, or until every harm was done once; what is settled comes after it. */
  readonly seconds: number;
  readonly nodes: number;
  readonly users: number;
  /** What users do in a second, all together. */
  readonly rate: number;
  /** Between two harms. */
  readonly paceSeconds: number;
  /** Done in turn, from the first on; at least one. */
  readonly harms: readonly HarmName[];
  /** Of the nodes. */
  readonly leaseTtlMs: number;
  readonly presenceTtlMs: number;
  readonly presenceGraceMs: number;
  /** Within which a user must be taken away whose node was killed. */
  readonly killedLeaveMs: number;
  readonly seed: number;
  /** Directory of the built package. */
  readonly dist: string;
  /** The evidence stays there. */
  readonly keep?: string | undefined;
  readonly print: (line: string) => void;
}

export interface PresenceResult {
  readonly verdict: PresenceVerdict;
  readonly troubles: readonly string[];
  /** How often each was done. */
  readonly actions: Readonly<Record<string, number>>;
  readonly harms: Readonly<Record<string, number>>;
  readonly ok: boolean;
}

/** evict: one kind of the record's keys goes. cut: a node's connections to Redis are reset. */
export const HARMS = ["kill", "flush", "stall", "evict", "cut"] as const;
export type HarmName = (typeof HARMS)[number];

const READY_MS = 60_000;
/** A node has taken by then what its tabs did last. */
const REST_MS = 500;
/** Of lua/presence-step.lua, those without which it is no record. */
const EVICTED = ["members", "expiries", "users", "epoch"];
const TABS_MOST = 3;
/** Every fifth user speaks the native protocol first, every seventh has a number for an id. */
const [NATIVE_EVERY, NUMBER_EVERY] = [5, 7];
/** In which all are, and others of which each user has one. */
const ALL = "presence-all";
const SHARED = ["presence-a", "presence-b", "presence-c", "presence-d"];

/** @returns what a run with these options may take */
function timesOf({ presenceGraceMs, killedLeaveMs }: PresenceOptions): PresenceTimes {
  return {
    graceMs: presenceGraceMs,
    joinWithinMs: 5_000,
    leaveWithinMs: presenceGraceMs + 5_000,
    abruptLeaveWithinMs: killedLeaveMs,
    aftermathMs: 2 * presenceGraceMs + 3_000,
  };
}

export async function runPresence(options: PresenceOptions): Promise<PresenceResult> {
  const { print } = options;
  const troubles: string[] = [];
  const trouble = (what: string): void => {
    troubles.push(what);
    if (troubles.length <= 20) print(`trouble: ${what}`);
  };
  const fleet = await startFleet({
    nodes: options.nodes,
    dist: options.dist,
    args: [
      `--app-key=${PRESENCE_APP.key}`,
      `--app-secret=${PRESENCE_APP.secret}`,
      `--jwt-secret=${PRESENCE_APP.jwtSecret}`,
      `--pusher=${JSON.stringify({ maxPresenceMembers: options.users })}`,
      `--lease-ttl-ms=${options.leaseTtlMs}`,
      `--presence-ttl-ms=${options.presenceTtlMs}`,
      `--presence-grace-ms=${options.presenceGraceMs}`,
    ],
    onCrash: trouble,
  });
  const checker = new PresenceChecker(timesOf(options));
  const file =
    options.keep === undefined ? undefined : createWriteStream(join(options.keep, "presence.jsonl"));
  const record = (evidence: PresenceEvidence): void => {
    checker.add(evidence);
    file?.write(`${JSON.stringify(evidence)}\n`);
  };
  const run = new Run(options, fleet, record, trouble);
  try {
    await run.go();
    const verdict = checker.verdict();
    const { actions, harms } = run;
    return { verdict, troubles, actions, harms, ok: verdict.ok && troubles.length === 0 };
  } finally {
    run.end();
    file?.end();
    await fleet.stop();
  }
}

interface User {
  readonly id: string | number;
  readonly native: boolean;
  readonly channels: readonly string[];
  readonly tabs: Set<Tab>;
  busy: boolean;
}

class Run {
  readonly actions: Record<string, number> = {};
  readonly harms: Record<string, number> = {};
  readonly #random;
  readonly #startedAtMs = performance.now();
  readonly #users: readonly User[];
  readonly #acting = new Set<Promise<void>>();
  /** Nodes to which nobody goes, whose tabs do nothing, and by which connections may be lost. */
  readonly #avoided = new Set<string>();
  #tabs = 0;
  #over = false;

  constructor(
    readonly options: PresenceOptions,
    readonly fleet: Fleet,
    readonly record: (evidence: PresenceEvidence) => void,
    readonly trouble: (what: string) => void,
  ) {
    this.#random = createRandom(options.seed);
    this.#users = Array.from({ length: options.users }, (_, index): User => {
      return {
        id: index % NUMBER_EVERY === 0 ? 10_000 + index : `user-${index}`,
        native: index % NATIVE_EVERY === 0,
        channels: [ALL, SHARED[index % SHARED.length]!],
        tabs: new Set(),
        busy: false,
      };
    });
  }

  async go(): Promise<void> {
    const { users, seconds, rate, print } = this.options;
    await Promise.all(
      this.#users.map(async (user, index) => {
        await delay((index / users) * 2_000);
        await this.#open(user);
      }),
    );
    if (!(await until(() => this.#settled(), READY_MS))) return this.trouble("not every tab could subscribe");
    print(`${users} users are subscribed, on ${this.fleet.nodes.length} nodes; they act for ${seconds} s`);
    const acting = setInterval(() => this.#act(), 1_000 / rate);
    const status = setInterval(() => print(`${this.#seconds()}  ${this.#tabCount()} tabs`), 10_000);
    try {
      await this.#doHarms(performance.now() + seconds * 1_000);
    } finally {
      clearInterval(acting);
      clearInterval(status);
    }
    await Promise.all(this.#acting);
    print(`${this.#seconds()}  settling`);
    if (!(await until(() => this.#settled(), READY_MS)))
      this.trouble("not every tab was answered in the end");
    // Whoever was killed last is gone by then.
    const { leaveWithinMs, abruptLeaveWithinMs } = timesOf(this.options);
    await delay(this.harms["kill"] === undefined ? leaveWithinMs : abruptLeaveWithinMs);
    this.record({ kind: "presence-end", atMs: Date.now() });
  }

  end(): void {
    this.#over = true;
    for (const { tabs } of this.#users) for (const tab of tabs) tab.close(false);
  }

  #seconds(): string {
    return `${((performance.now() - this.#startedAtMs) / 1_000).toFixed(1).padStart(6)} s`;
  }

  #tabCount(): number {
    return this.#users.reduce((sum, { tabs }) => sum + tabs.size, 0);
  }

  #settled(): boolean {
    return this.#users.every(({ tabs }) => [...tabs].every(({ settled }) => settled));
  }

  /** @returns a node that runs and is not avoided; another than `not` where there is one */
  #node(not?: string): FleetNode {
    const free = this.fleet.nodes.filter(({ name, running }) => running && !this.#avoided.has(name));
    const others = free.filter(({ name }) => name !== not);
    return this.#random.pick(others.length > 0 ? others : free);
  }

  async #open(user: User, node = this.#node()): Promise<void> {
    const other = user.tabs.size > 0 && this.#random.next() < 0.3;
    const tab = await openTab(user.native !== other, {
      tab: `t${++this.#tabs}`,
      ...{ user: user.id, node, record: this.record, trouble: this.trouble },
      lost: (code) => {
        user.tabs.delete(tab);
        if (!this.#avoided.has(tab.node))
          this.trouble(`${user.id} lost its connection to ${tab.node}: ${code}`);
        if (!this.#over) this.#do(`lost by ${code}`, user, () => this.#returned(user, tab.node));
      },
    });
    for (const channel of user.channels) tab.join(channel);
    user.tabs.add(tab);
  }

  #close(user: User, tab: Tab): void {
    user.tabs.delete(tab);
    tab.close(this.#random.next() < 0.7);
  }

  #act(): void {
    const user = this.#random.pick(this.#users);
    const tab = [...user.tabs][0];
    const stands = [...user.tabs].some(({ node }) => this.#avoided.has(node));
    if (user.busy || tab === undefined || stands || !tab.settled) return;
    const [name, action] = this.#random.pick(this.#menu);
    this.#do(name, user, () => action(user, tab));
  }

  #do(name: string, user: User, action: () => Promise<void>): void {
    this.actions[name] = (this.actions[name] ?? 0) + 1;
    user.busy = true;
    const acting = action()
      .catch((error: unknown) => this.trouble(`${name} of ${user.id}: ${String(error)}`))
      .then(() => {
        user.busy = false;
        this.#acting.delete(acting);
      });
    this.#acting.add(acting);
  }

  /** Of each user that is free now and then. */
  readonly #menu: readonly (readonly [string, (user: User, tab: Tab) => Promise<void>])[] = [
    ["reload", (user, tab) => this.#reload(user, tab, undefined)],
    ["reload", (user, tab) => this.#reload(user, tab, undefined)],
    ["move", (user, tab) => this.#reload(user, tab, tab.node)],
    [
      "second tab",
      async (user, tab) => {
        if (user.tabs.size < TABS_MOST) await this.#open(user);
        else this.#close(user, tab);
      },
    ],
    ["close a tab", (user, tab) => Promise.resolve(user.tabs.size > 1 ? this.#close(user, tab) : undefined)],
    ["leave", (user) => this.#leave(user)],
    ["leave", (user) => this.#leave(user)],
    ["unsubscribe", (user, tab) => this.#unsubscribe(user, tab)],
  ];

  /** All tabs go, and one is back within a third of the grace. */
  async #reload(user: User, tab: Tab, notTo: string | undefined): Promise<void> {
    const node = notTo === undefined ? this.#node() : this.#node(notTo);
    this.#close(user, tab);
    await delay(this.#random.between(0, this.options.presenceGraceMs / 3));
    await this.#open(user, node.running && !this.#avoided.has(node.name) ? node : this.#node());
  }

  async #leave(user: User): Promise<void> {
    for (const tab of user.tabs) this.#close(user, tab);
    await delay(this.options.presenceGraceMs * this.#random.between(0.5, 4));
    await this.#open(user);
  }

  async #unsubscribe(user: User, tab: Tab): Promise<void> {
    const channel = this.#random.pick([...tab.channels]);
    tab.leave(channel);
    await delay(this.options.presenceGraceMs * this.#random.between(0, 3));
    if (user.tabs.has(tab)) tab.join(channel);
  }

  /** Half of those whose node was killed come back at once; the others stay away until they must have been taken away. */
  async #returned(user: User, from: string): Promise<void> {
    if (user.tabs.size > 0 && this.#random.next() < 0.5) return;
    const soon = this.#random.next() < 0.5;
    const { presenceGraceMs, killedLeaveMs } = this.options;
    const [leastMs, mostMs] = soon ? [0, presenceGraceMs / 3] : [killedLeaveMs, killedLeaveMs + 3_000];
    await delay(this.#random.between(leastMs, mostMs));
    if (!this.#over) await this.#open(user, this.#node(from));
  }

  async #doHarms(deadlineMs: number): Promise<void> {
    const { paceSeconds, harms } = this.options;
    for (let turn = 0; ; turn++) {
      const leftMs = deadlineMs - performance.now();
      const pauseMs = paceSeconds * 1_000 * this.#random.between(0.8, 1.2);
      if (turn >= harms.length && pauseMs >= leftMs) return delay(Math.max(0, leftMs));
      await delay(pauseMs);
      const name = harms[turn % harms.length]!;
      const node = this.#random.pick(this.fleet.nodes);
      this.options.print(
        `${this.#seconds()}  ${name} ${name === "flush" || name === "evict" ? "" : node.name}`,
      );
      this.harms[name] = (this.harms[name] ?? 0) + 1;
      await this.#harm(name, node);
    }
  }

  async #harm(name: HarmName, node: FleetNode): Promise<void> {
    const startMs = Date.now();
    const { leaseTtlMs, presenceGraceMs } = this.options;
    switch (name) {
      case "kill":
        this.#avoided.add(node.name);
        await node.kill();
        this.record({ kind: "presence-harm", what: "kill", node: node.name, startMs, endMs: Date.now() });
        await delay(this.#random.between(500, 3_000));
        await node.start();
        this.#avoided.delete(node.name);
        return;
      case "stall": {
        this.#avoided.add(node.name);
        const isAtRest = (): boolean =>
          this.#settled() &&
          this.#users.every(({ busy, tabs }) => !busy || [...tabs].every((tab) => tab.node !== node.name));
        if (!(await until(isAtRest, READY_MS))) this.trouble(`tabs of ${node.name} did not come to rest`);
        await delay(REST_MS);
        const stoppedAtMs = Date.now();
        node.pause();
        await delay(leaseTtlMs * 2 + presenceGraceMs + 1_500);
        node.resume();
        const harm = { what: "stall", node: node.name, startMs: stoppedAtMs, endMs: Date.now() } as const;
        await this.#endHarm(harm);
        this.#avoided.delete(node.name);
        return;
      }
      case "cut":
        node.proxy.cut();
        await this.#endHarm({ what: "cut", node: node.name, startMs, endMs: Date.now() });
        return;
      case "flush":
      case "evict": {
        const redis = this.fleet.redis.client();
        if (name === "flush") await redis.flushall();
        else await redis.del(await redis.keys(`*presence:{p*}:*:${this.#random.pick(EVICTED)}`));
        await this.#endHarm({ what: "loss", node: undefined, startMs, endMs: Date.now() });
      }
    }
  }

  async #endHarm(harm: Omit<PresenceHarm, "kind">): Promise<void> {
    this.record({ kind: "presence-harm", ...harm });
    await delay(timesOf(this.options).aftermathMs);
  }
}
