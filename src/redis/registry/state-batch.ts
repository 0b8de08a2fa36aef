/** Writes one batch of connection state: few round trips, and what failed comes back to be kept. */

import type { RegisteredConnection } from "../../core/registry.js";
import { FrameWriter } from "../../encoding/frame-writer.js";
import {
  chunks,
  hashSecret,
  type Outcome,
  type Ownership,
  type SessionSave,
  type SessionStore,
} from "./sessions.js";

/** Fields of one HSET or HDEL: connections-write.lua bounds its arguments. */
const CHUNK_FIELDS = 500;
const CHUNK_CHARACTERS = 262_144;

/** A session without a connection: it is kept as `json` for its time-to-live, or ends if there is none. */
export interface Ending extends Ownership {
  readonly secretHash: string;
  readonly json: string | undefined;
}

/** To be written into the connections hash. */
interface LiveField {
  readonly connection: RegisteredConnection;
  readonly session: string;
  /** What is kept of the session, whose fields are also its connection's: making JSON of them once is enough. */
  readonly json: string;
}

/** A field of the connections hash that is to be written or removed. */
export type Field = LiveField | { readonly connection: undefined; readonly id: string };

export type LiveSave = SessionSave & { readonly connection: RegisteredConnection };
export type LiveOwnership = Ownership & { readonly connection: RegisteredConnection };

export interface StateBatch {
  readonly fields: Field[];
  readonly saves: LiveSave[];
  /** Sessions of live connections that have nothing to give back any more. */
  readonly ends: LiveOwnership[];
  readonly endings: Ending[];
}

export interface StateBatchTarget {
  readonly sessions: SessionStore;
  /** One round trip; false: this node's registration lapsed, nothing was written. */
  writeHash(removed: readonly string[], lines: Uint8Array): Promise<boolean>;
  saved(saves: readonly LiveSave[], outcomes: readonly Outcome[]): void;
  failed(error: unknown): void;
}

export function emptyBatch(): StateBatch {
  return { fields: [], saves: [], ends: [], endings: [] };
}

/** @returns what is not certainly written: unanswered, refused, or withheld by the lapse */
export async function writeBatch(batch: StateBatch, target: StateBatchTarget): Promise<StateBatch> {
  const { sessions } = target;
  const failed = emptyBatch();
  const jobs: Promise<void>[] = [];

  function write<T>(groups: readonly T[][], to: (group: T[]) => Promise<unknown>, lost: T[]): void {
    for (const group of groups) {
      jobs.push(
        to(group).then(
          (written) => {
            if (written === false) lost.push(...group);
          },
          (error: unknown) => {
            target.failed(error);
            lost.push(...group);
          },
        ),
      );
    }
  }

  write(chunks(batch.fields, CHUNK_FIELDS, CHUNK_CHARACTERS, lengthOfField), writeFields, failed.fields);
  const save = async (group: LiveSave[]): Promise<void> => target.saved(group, await sessions.save(group));
  write(sessions.group(batch.saves, length), save, failed.saves);
  write(sessions.group(batch.ends), (group) => sessions.end(group), failed.ends);
  const released = batch.endings.filter((ending) => ending.json !== undefined);
  const release = (group: Ending[]): Promise<unknown> =>
    sessions.save(group.map((ending) => ({ ...ending, json: ending.json ?? "", released: true })));
  write(sessions.group(released, length), release, failed.endings);
  const ended = batch.endings.filter((ending) => ending.json === undefined);
  write(sessions.group(ended), (group) => sessions.end(group), failed.endings);
  await Promise.all(jobs);
  return failed;

  function writeFields(fields: readonly Field[]): Promise<boolean> {
    const removed: string[] = [];
    lines.restart(0);
    for (const field of fields) {
      if (field.connection === undefined) removed.push(field.id);
      else writeLine(field);
    }
    return target.writeHash(removed, lines.written());
  }
}

const lines = new FrameWriter();
const CONNECTED_AT = Buffer.from(',"connectedAt":');
const LAST_ACTIVITY = Buffer.from(',"lastActivity":');
const SESSION = Buffer.from(',"session":');
const SPACE = 0x20;
const CLOSE_BRACE_NEWLINE = 0x7d0a;

/** The connection's own fields are read when they are written, not when they changed. */
function writeLine({ connection, session, json }: LiveField): void {
  lines.shortText(connection.id);
  lines.uint8(SPACE);
  lines.utf8(json);
  // Over the closing brace.
  lines.position--;
  lines.bytes(CONNECTED_AT);
  lines.digits(connection.connectedAt);
  lines.bytes(LAST_ACTIVITY);
  lines.digits(connection.lastActivity);
  lines.bytes(SESSION);
  lines.utf8(JSON.stringify(session));
  lines.uint16(CLOSE_BRACE_NEWLINE);
}

export function ownershipOf(connection: RegisteredConnection, session: string): Ownership {
  return { session, owner: connection.id, generation: connection.storedGeneration };
}

export function liveOwnershipOf(connection: RegisteredConnection, session: string): LiveOwnership {
  // Not `...owned`: a copy of an object made for it was half of what a touch of all sessions allocated.
  return { session, owner: connection.id, generation: connection.storedGeneration, connection };
}

export function secretHashOf(connection: RegisteredConnection): string {
  // Not kept: a hash takes a microsecond and 64 bytes.
  return hashSecret(connection.resumeSecret);
}

function lengthOfField(field: Field): number {
  return field.connection === undefined ? 0 : field.json.length;
}

function length(item: { readonly json: string | undefined }): number {
  return item.json?.length ?? 0;
}
