import { z } from "zod";
import type { ObjectSchema } from "./check.js";
import type { NamedSchema, Route } from "./route.js";
import { errorBody } from "./schemas.js";

export interface OpenApiOptions {
  readonly version: string;
  readonly metricsPublic: boolean;
  /** Whether any key is configured; without, nothing asks for one. */
  readonly keyed: boolean;
}

type Json = Record<string, unknown>;

const ERROR_DESCRIPTIONS: Readonly<Record<number, string>> = {
  400: "The request is wrong; the message says what is allowed.",
  401: "The API key is missing or wrong.",
  403: "Not allowed, or a web page's request to a node without a key.",
  409: "The channel's namespace does not enable this.",
  413: "The content or the body is too large.",
  415: "The body is compressed, or not declared as JSON.",
  429: "A rate limit is reached: Retry-After says when to try again.",
  500: "An internal error of the node, which logged the details.",
  503: "The message bus is unreachable or the node has no room: nothing was sent. Retry-After says when to try again.",
  504: "It was sent and its answer is missing: the outcome is unknown.",
};

/** The OpenAPI 3.1 document of these routes. Schemas are JSON Schema 2020-12, made from the zod ones. */
export function buildOpenApi(routes: readonly Route[], options: OpenApiOptions): Json {
  const schemas: Record<string, Json> = {};

  function reference({ name, schema }: NamedSchema, io: "input" | "output"): Json {
    schemas[name] = toJsonSchema(schema, io);
    return { $ref: `#/components/schemas/${name}` };
  }

  const error = () => ({
    "application/json": { schema: reference({ name: "Error", schema: errorBody }, "output") },
  });

  function operation(route: Route): Json {
    const guarded = options.keyed && needsKey(route, options.metricsPublic);
    const responses: Json = {};
    for (const [status, { description, json, type }] of Object.entries(route.responses)) {
      const content =
        json === undefined
          ? { [type ?? "text/plain"]: { schema: type === "application/json" ? {} : { type: "string" } } }
          : { "application/json": { schema: reference(json, "output") } };
      responses[status] = { description, content };
    }
    for (const status of errorStatuses(route, guarded, options.metricsPublic)) {
      responses[status] = { description: ERROR_DESCRIPTIONS[status] ?? "An error.", content: error() };
    }
    return {
      operationId: route.id,
      summary: route.summary,
      ...(route.description === undefined ? {} : { description: route.description }),
      ...(guarded ? {} : { security: [] }),
      parameters: [...parameters(route.params, "path"), ...parameters(route.query, "query")],
      ...(route.body === undefined
        ? {}
        : {
            requestBody: {
              required: !route.body.optional,
              content: { "application/json": { schema: reference(route.body.documented, "input") } },
            },
          }),
      responses,
    };
  }

  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Starling server API",
      version: options.version,
      description:
        "What back ends ask of Starling: publish, count, disconnect. Any node answers for all of them.",
    },
    ...(options.keyed ? { security: [{ bearer: [] }, { apiKey: [] }] } : {}),
    paths,
    components: {
      schemas,
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
      },
    },
  };
}

/** Whether a route asks for a key where any is configured. */
export function needsKey(route: Route, metricsPublic: boolean): boolean {
  return route.access === "metrics" ? !metricsPublic : route.access !== "open";
}

/** Whether that key has to be one of `main`. */
export function needsMainKey(route: Route, metricsPublic: boolean): boolean {
  return route.access !== "key" && needsKey(route, metricsPublic);
}

function errorStatuses(route: Route, guarded: boolean, metricsPublic: boolean): number[] {
  const statuses = new Set([500, ...route.errors]);
  if (guarded) statuses.add(401);
  if (guarded && needsMainKey(route, metricsPublic)) statuses.add(403);
  if (route.access === "key" || route.access === "main") statuses.add(400);
  if (route.method === "POST") for (const status of [403, 413, 415, 503]) statuses.add(status);
  return [...statuses].filter((status) => !(status in route.responses)).sort((a, b) => a - b);
}

function toJsonSchema(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io }) as Json;
  return rest;
}

function parameters(schema: ObjectSchema | undefined, where: "path" | "query"): Json[] {
  if (schema === undefined) return [];
  const { properties, required } = toJsonSchema(schema, "input") as {
    properties: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: where,
    required: required?.includes(name) ?? false,
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}
