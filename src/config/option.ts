/** How an option is declared. */

import type { z } from "zod";
import type { Kind } from "./kinds.js";

export const GROUPS = [
  "Listening",
  "Redis and the fleet",
  "Heartbeats and sessions",
  "Channels",
  "Limits",
  "Who may connect",
  "Apps",
  "Server API and metrics",
  "Running",
] as const;

/** What the defaults depend on. */
export interface Surroundings {
  /** NODE_ENV=production */
  readonly production: boolean;
  /** Most file descriptors of this process; undefined where the system does not tell. */
  readonly fileLimit?: number | undefined;
}

export interface Option<S extends z.ZodType = z.ZodType> {
  readonly kind: Kind<S>;
  readonly group: (typeof GROUPS)[number];
  readonly default: z.output<S> | ((surroundings: Surroundings) => z.output<S>);
  /** How help and docs show the default, where the value alone does not say it. */
  readonly defaultText?: string;
  readonly unit?:
    | "ms"
    | "bytes"
    | "bytes/s"
    | "messages"
    | "messages/s"
    | "connections"
    | "connections/s"
    | "channels"
    | "frames"
    | "percent";
  readonly description: string;
  /** Why this default. */
  readonly reason: string;
  /** What must not be shown: the whole value, the password within a URL, or the parts for which this is true. */
  readonly secret?: "value" | "password" | ((path: readonly PropertyKey[]) => boolean);
}

export const option = <S extends z.ZodType>(declared: Option<S>): Option<S> => declared;

/** What an entry of an option may have, such as an app's: told by its name, without a place of its own on the command line. */
export interface Field<S extends z.ZodType = z.ZodType> {
  readonly kind: Kind<S>;
  /** Where the entry does not say; undefined: it has none. */
  readonly default: z.output<S> | undefined;
  /** How docs show the default, where the value alone does not say it. */
  readonly defaultText?: string;
  readonly unit?: string;
  readonly description: string;
}

export const field = <S extends z.ZodType>(declared: Field<S>): Field<S> => declared;
