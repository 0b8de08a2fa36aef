/** New settings of apps, taken over while the node serves. */

import { isDeepStrictEqual } from "node:util";
import type { App, AppSettings } from "./app.js";
import { quote } from "./errors.js";
import { splitChannelKey, type LocalChannel } from "./channel.js";
import type { RulesOf } from "./channel-rules.js";
import type { Closing } from "./closing.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";

/** Closed in one turn of the loop. */
const CLOSED_AT_ONCE = 500;

type Reloaded = Pick<EdgeContext, "apps" | "hub">;

/**
 * The settings hold when this returns. The promise resolves once the connections of apps that are served no more, or are
 * now disabled, are closed.
 * @returns how many those were
 * @throws Error where two apps have one id or there is no `main`: nothing was changed
 */
export function reloadApps({ apps, hub }: Reloaded, all: readonly AppSettings[]): Promise<number> {
  const channels = channelsByApp(hub);
  const enabled = [...apps].filter((app) => app.enabled);
  const removed = apps.reload(
    all.map((settings) => ({
      ...settings,
      rulesOf: keepingAlive(hub, channels.get(settings.id) ?? [], settings.rulesOf),
    })),
  );
  const closing = new Map<App, Closing>();
  for (const app of enabled)
    if (!app.enabled)
      closing.set(app, { reason: "app_disabled", message: `app ${quote(app.id)} is disabled` });
  for (const app of removed)
    closing.set(app, { reason: "app_removed", message: `app ${quote(app.id)} is served no more` });
  return closing.size === 0 ? Promise.resolve(0) : closeAllOf(hub, closing);
}

function channelsByApp(hub: Reloaded["hub"]): Map<string, LocalChannel[]> {
  const found = new Map<string, LocalChannel[]>();
  for (const channel of hub.channels.values()) {
    const { app } = splitChannelKey(channel.key);
    const channels = found.get(app);
    if (channels === undefined) found.set(app, [channel]);
    else channels.push(channel);
  }
  return found;
}

/**
 * A channel keeps its rules as long as it has subscribers here: what is published to it must be kept by the rules by
 * which its subscribers were promised to recover it.
 */
function keepingAlive(hub: Reloaded["hub"], channels: readonly LocalChannel[], rulesOf: RulesOf): RulesOf {
  const changed = channels.filter(({ name, rules }) => !isDeepStrictEqual(rules, rulesOf(name)));
  if (changed.length === 0) return rulesOf;
  const alive = new Map(changed.map((channel) => [channel.name, channel]));
  return (name) => {
    const channel = alive.get(name);
    if (channel === undefined) return rulesOf(name);
    if (hub.channels.get(channel.key) === channel) return channel.rules;
    alive.delete(name);
    return rulesOf(name);
  };
}

/** @param apps  with what their connections are told */
async function closeAllOf(hub: Reloaded["hub"], apps: ReadonlyMap<App, Closing>): Promise<number> {
  const leaving: Connection[] = [];
  for (const connection of hub.connections.values()) if (apps.has(connection.app)) leaving.push(connection);
  for (const [index, connection] of leaving.entries()) {
    if (index > 0 && index % CLOSED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    const { reason, message } = apps.get(connection.app)!;
    connection.close(reason, { message });
  }
  return leaving.length;
}
