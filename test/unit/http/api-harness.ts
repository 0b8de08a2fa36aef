import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { expect } from "vitest";
import type { PublishInput } from "../../../src/core/operations.js";
import type { HttpResponse } from "../../../src/core/transport.js";
import { createApi, type ApiOptions } from "../../../src/http/api.js";
import type { NodeOperations } from "../../../src/http/operations.js";

export const KEY = "key-of-the-tests";

/** What the API asked of the node, in order: name, then arguments. */
export type Calls = [name: string, ...args: unknown[]][];

export function fakeOperations(overrides: Partial<NodeOperations> = {}) {
  const calls: Calls = [];
  const published: PublishInput[] = [];
  const operations: NodeOperations = {
    publish: (input) => {
      published.push(input);
      return Promise.resolve(undefined);
    },
    channels: (query) => {
      calls.push(["channels", query]);
      return Promise.resolve({ channels: [{ channel: "a", subscribers: 2 }], missing: ["n2"] });
    },
    channelSubscribers: (query) => {
      calls.push(["channelSubscribers", query]);
      return Promise.resolve({ subscribers: 3, missing: [] });
    },
    history: (...args) => {
      calls.push(["history", ...args]);
      return Promise.resolve({ publications: [], top: { offset: 0, epoch: "e" } });
    },
    presence: (...args) => {
      calls.push(["presence", ...args]);
      const members = [
        { connection: "c1", user: "42", info: '{"name":"<Ann>","__proto__":1}' },
        { connection: "c2", user: null },
      ];
      return Promise.resolve({ members, connections: 3, users: 2 });
    },
    presenceStats: (...args) => {
      calls.push(["presenceStats", ...args]);
      return Promise.resolve({ connections: 3, users: 2 });
    },
    userConnections: (...args) => {
      calls.push(["userConnections", ...args]);
      const connection = { connection: "c1", userId: "42", channels: ["a"], connectedAt: 1, lastActivity: 2 };
      return Promise.resolve({ connections: [{ ...connection, node: "n1" }], missing: [] });
    },
    disconnectUser: (...args) => record("disconnectUser", args),
    unsubscribe: (...args) => record("unsubscribe", args),
    permit: (...args) => record("permit", args),
    totals: () => Promise.resolve({ nodes: 2, connections: 5 }),
    ready: () => ({ ready: true, reasons: [] }),
    metrics: () => Promise.resolve({ contentType: "text/plain; version=0.0.4", text: "up 1\n" }),
    ...overrides,
  };
  function record(name: string, args: unknown[]): Promise<{ missing: string[] }> {
    calls.push([name, ...args]);
    return Promise.resolve({ missing: ["n2"] });
  }
  return { operations, calls, published };
}

export interface CallOptions {
  readonly headers?: Record<string, string>;
  /** Text or bytes as they are, anything else as JSON. */
  readonly body?: unknown;
  readonly key?: string | null;
}

export interface Answer extends HttpResponse {
  /** The body as JSON, where it is. */
  readonly json: unknown;
}

/** An API on fake operations. Every response is held to the document that the API serves. */
export function harness(
  {
    apiKeys = [KEY],
    ...options
  }: Partial<Omit<ApiOptions, "apiKeys">> & { apiKeys?: readonly string[] } = {},
  overrides: Partial<NodeOperations> = {},
) {
  const fake = fakeOperations(overrides);
  const api = createApi({
    operations: fake.operations,
    apiKeys: new Map([["main", apiKeys]]),
    metricsPublic: false,
    maxContentBytes: 65_536,
    maxBodyBytes: 1_000_000,
    clientsPort: 8000,
    version: "1.2.3",
    ...options,
  });

  /** Paths of the requests whose body was read. */
  const bodiesRead: string[] = [];

  async function send(method: string, target: string, { headers = {}, body, key }: CallOptions = {}) {
    const [path, query] = target.split("?") as [string, string?];
    const bytes =
      body === undefined
        ? new Uint8Array()
        : typeof body === "string" || body instanceof Uint8Array
          ? Buffer.from(body as string)
          : Buffer.from(JSON.stringify(body));
    const all: Record<string, string> = {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(key === null ? {} : { authorization: `Bearer ${key ?? KEY}` }),
      ...headers,
    };
    return api.handle({
      ...{ method, path, query: query ?? "" },
      header: (name) => all[name],
      hasBody: bytes.length > 0,
      readBody: () => {
        bodiesRead.push(path);
        return Promise.resolve(bytes);
      },
    });
  }

  let document: Promise<OpenApi> | undefined;

  async function openapi(): Promise<OpenApi> {
    const response = await send("GET", "/openapi.json", { key: apiKeys[0] ?? null });
    return parseDocument(response.body as string);
  }

  async function call(method: string, target: string, options: CallOptions = {}): Promise<Answer> {
    const response = await send(method, target, options);
    const isJson = response.headers["content-type"]?.startsWith("application/json") === true;
    const json =
      isJson && response.body !== "" ? (JSON.parse(response.body as string) as unknown) : undefined;
    if (method !== "HEAD") {
      holdToDocument(await (document ??= openapi()), method, target.split("?")[0]!, response, json);
    }
    return { ...response, json };
  }

  return { call, openapi, bodiesRead, api, ...fake };
}

export interface OpenApi {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, object> };
}

export interface Operation {
  readonly operationId: string;
  readonly security?: unknown[];
  readonly parameters: { name: string; in: string; required: boolean; schema: object }[];
  readonly requestBody?: { required: boolean; content: Record<string, { schema: object }> };
  readonly responses: Record<string, { content: Record<string, { schema: object }> }>;
}

/** What no operation answers with: no such path, or no such method. */
const BESIDE_OPERATIONS = [404, 405];

function holdToDocument(
  document: OpenApi,
  method: string,
  path: string,
  response: HttpResponse,
  json: unknown,
) {
  const template = Object.keys(document.paths).find((candidate) =>
    new RegExp(`^${candidate.replace(/\{\w+\}/g, "[^/]*")}$`).test(path),
  );
  const operation = template === undefined ? undefined : document.paths[template]![method.toLowerCase()];
  const mediaType = response.headers["content-type"]!.split(";")[0]!;
  if (operation === undefined) {
    expect([...BESIDE_OPERATIONS, 401]).toContain(response.status);
    expect(validate(document, { $ref: "#/components/schemas/Error" }, json)).toEqual([]);
    return;
  }
  const documented = operation.responses[response.status]?.content[mediaType];
  if (documented === undefined) {
    throw new Error(
      `${method} ${path} gave ${response.status} ${mediaType}, which the document does not list`,
    );
  }
  expect(validate(document, documented.schema, mediaType === "text/plain" ? response.body : json)).toEqual(
    [],
  );
}

/** Compiling a schema takes longer than everything else that a test does. */
const documents = new Map<string, OpenApi>();
const checks = new WeakMap<OpenApi, Map<string, ValidateFunction>>();

function parseDocument(text: string): OpenApi {
  const document = documents.get(text) ?? (JSON.parse(text) as OpenApi);
  documents.set(text, document);
  return document;
}

export function validate(document: OpenApi, schema: object, value: unknown): string[] {
  const compiled = checks.get(document) ?? new Map<string, ValidateFunction>();
  checks.set(document, compiled);
  const key = JSON.stringify(schema);
  const check =
    compiled.get(key) ??
    new Ajv2020({ strict: false, formats: { base64: true } }).compile({
      ...schema,
      components: document.components,
    });
  compiled.set(key, check);
  return check(value) ? [] : check.errors!.map((error) => `${error.instancePath} ${error.message}`);
}
