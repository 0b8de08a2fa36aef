/** Sessions in Redis: one key each, changed only by who owns it (lua/session-save.lua has the layout). */

import crypto, { createHash } from "node:crypto";

import type { SessionRecord, TakeRefusal } from "../../core/registry.js";
import { isChannelName } from "../../core/channel-name.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import { isCluster, type RedisClient } from "../link/client.js";
import { sessionBucket, type Keys } from "../link/keys.js";
import { EncodedCall } from "../link/encoded-call.js";
import { loadScript, runScript, type Script } from "../link/scripts.js";

const SAVE = loadScript("session-save");
const TOUCH = loadScript("session-touch");
const END = loadScript("session-end");
const TAKE = loadScript("session-take");

/** Per script call: at about 3 us a session Redis serves others after a fraction of a millisecond. */
const CHUNK_SESSIONS = 200;
const CHUNK_CHARACTERS = 262_144;
/** Ours are far shorter; a client may show anything. */
const SESSION_ID_MAX = 128;
/** A live session outlasts two missed refreshes, one each half of the time-to-live. */
const LIVE_TTLS = 1.5;

/** Who has a session: a take raises the generation, so a late write of a former owner fails. */
export interface Ownership {
  readonly session: string;
  /** Connection id. */
  readonly owner: string;
  readonly generation: number;
}

export interface SessionSave extends Ownership {
  readonly secretHash: string;
  readonly json: string;
  /** The owner is gone: the session can be resumed for its time-to-live. */
  readonly released: boolean;
}

export type Outcome = "done" | "superseded" | "gone";

export type Taken =
  | { readonly generation: number; readonly formerOwner: string | undefined; readonly record: SessionRecord }
  | TakeRefusal;

export function hashSecret(secret: string): string {
  // In one call it takes a third of the time, from Node 20.12 on.
  return hash === undefined
    ? createHash("sha256").update(secret).digest("base64url")
    : hash("sha256", secret, "base64url");
}
const hash = crypto.hash as typeof crypto.hash | undefined;

/** The last that was asked for: of those who come anonymously to one channel all are alike. */
let lastKept: Omit<SessionRecord, "session"> = { app: "", userId: null, channels: [] };
let lastText = JSON.stringify(lastKept);

/** What is kept of a session. */
export function sessionText({ app, userId, channels }: SessionRecord): string {
  if (app !== lastKept.app || userId !== lastKept.userId || !areSame(channels, lastKept.channels)) {
    lastKept = { app, userId, channels };
    lastText = JSON.stringify(lastKept);
  }
  return lastText;
}

function areSame(some: readonly string[], others: readonly string[]): boolean {
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false;
  return true;
}

/** What sessionText made. Channels go on to be written into frames: what cannot be one is left out. */
function recordOf(session: string, kept: unknown): SessionRecord {
  const { app, userId, channels } = kept as Partial<Record<keyof SessionRecord, unknown>>;
  return {
    session,
    app: String(app),
    userId: typeof userId === "string" ? userId : null,
    channels: Array.isArray(channels) ? channels.filter(isChannelName) : [],
  };
}

/** As sessionText, or undefined where nothing would be given back. */
export function sessionJson(record: SessionRecord): string | undefined {
  return isWorthKeeping(record) ? sessionText(record) : undefined;
}

export function isWorthKeeping({ userId, channels }: SessionRecord): boolean {
  return userId !== null || channels.length > 0;
}

/** All of it rejects as ioredis does; each call is one script. */
export function createSessionStore(redis: RedisClient, keys: Keys, sessionTtlMs: number) {
  const liveTtlMs = Math.ceil(sessionTtlMs * LIVE_TTLS);
  /** A single Redis takes any keys in one call: a call for each bucket would be sixteen small ones. */
  const bucketed = isCluster(redis);

  return {
    /** Groups that one call each can write. */
    group: <T extends Ownership>(items: readonly T[], size: (item: T) => number = () => 0): T[][] => {
      if (!bucketed) return chunks(items, CHUNK_SESSIONS, CHUNK_CHARACTERS, size);
      const buckets = new Map<number, T[]>();
      for (const item of items) {
        const bucket = sessionBucket(item.session);
        const of = buckets.get(bucket);
        if (of === undefined) buckets.set(bucket, [item]);
        else of.push(item);
      }
      return [...buckets.values()].flatMap((of) => chunks(of, CHUNK_SESSIONS, CHUNK_CHARACTERS, size));
    },

    /** @param group  as `group` made it, all released or none */
    async save(group: readonly SessionSave[]): Promise<Outcome[]> {
      lines.restart(0);
      for (const item of group) {
        writeOwner(item.owner, item.generation);
        writeOwner(item.released ? "-" : item.owner, item.generation);
        writeWord(item.secretHash);
        lines.utf8(item.json);
        lines.uint8(NEWLINE);
      }
      return run(SAVE, group, group[0]?.released === true ? sessionTtlMs : liveTtlMs);
    },

    /** @param group  as `group` made it */
    async touch(group: readonly Ownership[]): Promise<Outcome[]> {
      lines.restart(0);
      for (const { owner, generation } of group) {
        writeOwner(owner, generation);
        lines.uint8(NEWLINE);
      }
      return run(TOUCH, group, liveTtlMs);
    },

    /** @param group  as `group` made it */
    async end(group: readonly Ownership[]): Promise<void> {
      const args = group.flatMap((item) => [item.owner, item.generation]);
      await runScript(redis, END, names(group), args);
    },

    /** @param again  whether this owner asked with the same secret before and had no answer */
    async take(
      session: string,
      secret: string,
      by: Pick<SessionRecord, "app" | "userId"> & { readonly id: string; readonly secretHash: string },
      again: boolean,
    ): Promise<Taken> {
      if (session.length > SESSION_ID_MAX) return "unknown_session";
      const { id, secretHash, app, userId } = by;
      const args = [hashSecret(secret), id, secretHash, liveTtlMs, again ? "1" : "0", app, userId ?? ""];
      const reply = await runScript(redis, TAKE, [keys.session(session)], args);
      if (reply === -2) return "unknown_session";
      if (reply === -1) return "wrong_secret";
      if (reply === -3) return "another_user";
      const [generation, owner, json] = reply as [number, string, string];
      const formerOwner = owner === "-" ? undefined : owner;
      return { generation, formerOwner, record: recordOf(session, JSON.parse(json)) };
    },
  };

  function names(group: readonly Ownership[]): string[] {
    return group.map((item) => keys.session(item.session));
  }

  /** With the lines as its second argument: one for each of the group would cost half a microsecond. */
  async function run(script: Script, group: readonly Ownership[], ttlMs: number): Promise<Outcome[]> {
    call.restart(keys.session(group[0]!.session));
    for (const { session } of group) call.addKey(keys.sessionPrefix(session), session);
    call.add(ttlMs);
    call.add(lines.written());
    return outcomes(await call.run(redis, script));
  }
}

const call = new EncodedCall();
const lines = new FrameWriter();
const SPACE = 0x20;
const NEWLINE = 0x0a;

function writeOwner(owner: string, generation: number): void {
  writeWord(owner);
  lines.digits(generation);
  lines.uint8(SPACE);
}

function writeWord(word: string): void {
  lines.shortText(word);
  lines.uint8(SPACE);
}

export type SessionStore = ReturnType<typeof createSessionStore>;

const DIGIT_0 = 0x30;
const DIGIT_1 = 0x31;

/** @param reply  a digit for each session */
function outcomes(reply: unknown): Outcome[] {
  return Array.from(reply as Buffer, (digit) =>
    digit === DIGIT_1 ? "done" : digit === DIGIT_0 ? "superseded" : "gone",
  );
}

/**
 * Cuts a list into lists of at most `most` items and about `mostCharacters` in
 * all: one item larger than that has a list of its own.
 */
export function chunks<T>(
  items: readonly T[],
  most: number,
  mostCharacters: number,
  characters: (item: T) => number,
): T[][] {
  const lists: T[][] = [];
  let list: T[] = [];
  let held = 0;
  for (const item of items) {
    const size = characters(item);
    if (list.length > 0 && (list.length >= most || held + size > mostCharacters)) {
      lists.push(list);
      list = [];
      held = 0;
    }
    list.push(item);
    held += size;
  }
  if (list.length > 0) lists.push(list);
  return lists;
}
