/** Pusher's questions about channels. */

import { StarlingError, quote } from "../../core/errors.js";
import { READ_LIMIT_MAX } from "../../core/limits.js";
import type { HttpResponse } from "../../core/transport.js";
import { Encoding, type Payload } from "../../encoding/payload.js";
import { msgpackToJson } from "../../encoding/transcode.js";
import { isCache, isPresence } from "../../protocols/pusher/channels.js";
import { jsonTextResponse } from "../message.js";
import { checkedChannel, isPusherName } from "./names.js";
import type { PusherCall, PusherOperations } from "./operations.js";

/** What may be asked of a channel besides whether it is there. */
const ATTRIBUTES = ["user_count", "subscription_count", "cache"] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

/** In one answer: the first by name. */
export const CHANNELS_LISTED_MAX = 10_000;
/** The same where users are counted: each channel's are asked for by itself, of the shard that has it. */
export const CHANNELS_COUNTED_MAX = 1_000;
/** Counts of users that are asked for at a time. */
const COUNTS_AT_A_TIME = 100;
/** Says that the list ends before its end. */
const TRUNCATED = { "x-starling-truncated": "true" };
const NO_ATTRIBUTES: ReadonlySet<Attribute> = new Set();
const NO_COUNTS: ReadonlyMap<string, number> = new Map();

export interface Counts {
  user_count?: number;
  subscription_count?: number;
}

/** @param info  names joined by commas @throws StarlingError bad_request */
export function readInfo(info: string | undefined, allowed: readonly Attribute[]): ReadonlySet<Attribute> {
  if (info === undefined) return NO_ATTRIBUTES;
  const asked = new Set<Attribute>();
  for (const piece of info.split(",")) {
    const name = piece.trim() as Attribute;
    if (piece === "") continue;
    if (!allowed.includes(name)) {
      throw new StarlingError(
        "bad_request",
        `"info" asks for ${quote(name)}, which is not known here: allowed are ${allowed.join(", ")}`,
      );
    }
    asked.add(name);
  }
  return asked;
}

/** Occupied ones, of all nodes. Those whose names Pusher's clients could not use are left out. */
export async function listChannels({ operations, app, settings, query }: PusherCall): Promise<HttpResponse> {
  const prefix = query.get("filter_by_prefix") ?? "";
  const info = readInfo(query.get("info"), ["user_count", "subscription_count"]);
  if (prefix.length > settings.maxChannelNameBytes) {
    throw new StarlingError(
      "bad_request",
      `"filter_by_prefix" has ${prefix.length} characters, at most ${settings.maxChannelNameBytes} are allowed (pusher.maxChannelNameBytes)`,
    );
  }
  if (info.has("user_count") && !isPresence(prefix)) {
    throw new StarlingError(
      "bad_request",
      'user_count is only known of presence channels: "filter_by_prefix" must begin with presence-',
    );
  }
  const most = info.has("user_count") ? CHANNELS_COUNTED_MAX : CHANNELS_LISTED_MAX;
  const limit = most + 1;
  const { channels, missing } = await operations.channels({ app: app.id, prefix, limit });
  checkComplete(missing);
  const occupied = channels
    .slice(0, most)
    .filter(({ channel, subscribers }) => subscribers > 0 && isPusherName(channel, settings));
  const users = info.has("user_count")
    ? await userCounts(
        operations,
        app.id,
        occupied.map(({ channel }) => channel),
      )
    : [];
  const told = occupied.map(({ channel, subscribers }, index): [string, Counts] => [
    channel,
    {
      ...(info.has("user_count") ? { user_count: users[index]! } : undefined),
      ...(info.has("subscription_count") ? { subscription_count: subscribers } : undefined),
    },
  ]);
  return json({ channels: Object.fromEntries(told) }, channels.length === limit ? TRUNCATED : undefined);
}

export async function describeChannel({
  operations,
  app,
  settings,
  query,
  name,
}: PusherCall): Promise<HttpResponse> {
  const own = checkedChannel(name, settings);
  const info = readInfo(query.get("info"), ATTRIBUTES);
  if (info.has("user_count")) checkPresence(name, "user_count is");
  if (info.has("cache") && !isCache(name)) {
    throw new StarlingError("bad_request", `channel ${quote(name)} is not a cache channel: it has no cache`);
  }
  const [{ counts, missing }, users, cache] = await Promise.all([
    operations.subscriberCounts(app.id, [own]),
    info.has("user_count") ? operations.presenceStats(app.id, own) : undefined,
    info.has("cache") ? lastEvent({ operations, app }, own) : undefined,
  ]);
  checkComplete(missing);
  const subscribers = counts[0]!;
  return json({
    occupied: subscribers > 0,
    ...(users === undefined ? undefined : { user_count: subscribers > 0 ? users.users : 0 }),
    ...(info.has("subscription_count") ? { subscription_count: subscribers } : undefined),
    ...(cache === undefined ? undefined : { cache }),
  });
}

export async function listUsers({ operations, app, settings, name }: PusherCall): Promise<HttpResponse> {
  const own = checkedChannel(name, settings);
  checkPresence(name, "users are");
  const { members, users } = await operations.presence(app.id, own, READ_LIMIT_MAX);
  // Who has no id counts as a user too.
  const ids = new Set(members.map(({ user, connection }) => user ?? connection));
  return json({ users: Array.from(ids, (id) => ({ id })) }, ids.size < users ? TRUNCATED : undefined);
}

/**
 * Of channels that an event went to. It has gone: what is not known now is left out rather than the answer.
 * @param channels  each by its Pusher name, and as the node calls it
 */
export async function countsOf(
  { operations, app }: Pick<PusherCall, "operations" | "app">,
  channels: readonly { readonly name: string; readonly own: string }[],
  info: ReadonlySet<Attribute>,
): Promise<ReadonlyMap<string, Counts>> {
  const presences = info.has("user_count") ? channels.filter(({ name }) => isPresence(name)) : [];
  const counted = info.has("subscription_count") ? channels : presences;
  const [subscribers, users] = await Promise.all([
    subscriberCounts(operations, app.id, counted).catch(unknownCounts),
    userCounts(
      operations,
      app.id,
      presences.map(({ own }) => own),
    ).catch(unknownCounts),
  ]);
  const found = new Map<string, Counts>(channels.map(({ name }) => [name, {}]));
  if (users !== undefined) {
    // In the grace of who left last the channel has a user, and nobody.
    for (const [index, { name }] of presences.entries())
      found.get(name)!.user_count = subscribers?.get(name) === 0 ? 0 : users[index]!;
  }
  if (info.has("subscription_count")) {
    for (const [name, count] of subscribers ?? []) found.get(name)!.subscription_count = count;
  }
  return found;
}

/** By Pusher's name; undefined: not of all nodes. */
async function subscriberCounts(
  operations: PusherOperations,
  app: string,
  channels: readonly { readonly name: string; readonly own: string }[],
): Promise<ReadonlyMap<string, number> | undefined> {
  if (channels.length === 0) return NO_COUNTS;
  const { counts, missing } = await operations.subscriberCounts(
    app,
    channels.map(({ own }) => own),
  );
  if (missing.length > 0) return undefined;
  return new Map(channels.map(({ name }, index) => [name, counts[index]!]));
}

function unknownCounts(error: unknown): undefined {
  if (error instanceof StarlingError) return undefined;
  throw error;
}

async function userCounts(
  operations: PusherOperations,
  app: string,
  channels: readonly string[],
): Promise<readonly number[]> {
  const counts: number[] = [];
  for (let at = 0; at < channels.length; at += COUNTS_AT_A_TIME) {
    const some = channels.slice(at, at + COUNTS_AT_A_TIME);
    for (const { users } of await Promise.all(some.map((channel) => operations.presenceStats(app, channel))))
      counts.push(users);
  }
  return counts;
}

/** What a new subscriber would be sent; null: nothing. */
async function lastEvent(
  { operations, app }: Pick<PusherCall, "operations" | "app">,
  channel: string,
): Promise<{ data: string; ttl: number } | null> {
  const range = { since: undefined, limit: 1, reverse: true };
  const [last] = (await operations.history(app.id, channel, range)).publications;
  const rule = app.rulesOf(channel).history;
  if (last === undefined || rule === undefined) return null;
  const ttl = Math.ceil((last.publishedAtMs + rule.ttlMs - Date.now()) / 1000);
  return { data: dataOf(last.payload), ttl: Math.max(ttl, 0) };
}

/** As a string, which is what Pusher calls data. */
function dataOf({ bytes, encoding }: Payload): string {
  if (encoding === Encoding.msgpack) return msgpackToJson(bytes);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return encoding === Encoding.binary ? buffer.toString("base64") : buffer.toString();
}

function checkPresence(name: string, what: string): void {
  if (isPresence(name)) return;
  throw new StarlingError("bad_request", `${what} only known of presence channels, not of ${quote(name)}`);
}

/** A node that did not answer may have subscribers: a number without them would be wrong. */
function checkComplete(missing: readonly string[]): void {
  if (missing.length === 0) return;
  throw new StarlingError(
    "unavailable",
    `nodes did not answer in time (${missing.slice(0, 5).join(", ")}${missing.length > 5 ? ", …" : ""}): counts without them would be wrong; ask again`,
  );
}

function json(value: unknown, headers?: Readonly<Record<string, string>>): HttpResponse {
  return jsonTextResponse(200, JSON.stringify(value), headers);
}
