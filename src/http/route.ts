import type { z } from "zod";
import type { HttpResponse } from "../core/transport.js";
import type { ObjectSchema } from "./check.js";

/**
 * Who may call: anyone; holders of any app's key; of a key of `main`, as the answer is about all apps of the node; or,
 * for metrics, those unless the option says anyone.
 */
export type Access = "open" | "key" | "main" | "metrics";

export interface RouteInput<Params, Query, Body> {
  /** Id of the application whose key was given. */
  readonly app: string;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** The body as JSON.parse made it. */
  readonly json: unknown;
  /** The body as it came; empty where none did. */
  readonly bytes: Uint8Array;
}

/** What a handler answers with: JSON of the route's schema, or a response that is already whole. */
export type RouteOutput = { readonly status: number; readonly json: unknown } | HttpResponse;

/** A named schema: what the document puts under components. */
export interface NamedSchema<T extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly schema: T;
}

export const named = <T extends z.ZodType>(name: string, schema: T): NamedSchema<T> => ({ name, schema });

/** The bus is unreachable: 503, or 504 where the outcome is unknown. */
export const BUS_ERRORS = [503, 504] as const;

interface RouteDescription<P extends ObjectSchema, Q extends ObjectSchema, B extends ObjectSchema> {
  readonly method: "GET" | "POST" | "OPTIONS";
  /** `{name}` stands for one segment. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  readonly access: Access;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: {
    /** The schema that the document shows: `checked` may be looser, and the handler does the rest. */
    readonly documented: NamedSchema;
    readonly checked: B;
    /** Whether no body is as good as `{}`. */
    readonly optional: boolean;
  };
  /** What it answers when all is well, by status. */
  readonly responses: Readonly<Record<number, { description: string; json?: NamedSchema; type?: string }>>;
  /** Statuses of errors that the route itself can give, besides those of every route of its kind. */
  readonly errors: readonly number[];
}

export interface RouteSpec<
  P extends ObjectSchema,
  Q extends ObjectSchema,
  B extends ObjectSchema,
> extends RouteDescription<P, Q, B> {
  handle(input: RouteInput<z.output<P>, z.output<Q>, z.output<B>>): Promise<RouteOutput> | RouteOutput;
}

/** A route whose schemas are only known at run time. */
export interface Route extends RouteDescription<ObjectSchema, ObjectSchema, ObjectSchema> {
  handle(input: RouteInput<unknown, unknown, unknown>): Promise<RouteOutput> | RouteOutput;
}

/** Ties a handler's types to its schemas; the API runs the schemas before it calls the handler. */
export function route<P extends ObjectSchema, Q extends ObjectSchema, B extends ObjectSchema>(
  spec: RouteSpec<P, Q, B>,
): Route {
  return spec;
}
