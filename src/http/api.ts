import { DEFAULT_APP } from "../core/app.js";
import { silentLog, type Log } from "../core/log.js";
import { Stats, type RouteStats } from "../core/stats.js";
import type { HttpRequest, HttpResponse, HttpService } from "../core/transport.js";
import { StarlingError, quote } from "../core/errors.js";
import { suggest } from "../core/suggest.js";
import { createKeyCheck, type ApiKeys } from "./api-key.js";
import { check } from "./check.js";
import { COMMON_HEADERS, jsonResponse } from "./message.js";
import { buildOpenApi, needsKey, needsMainKey } from "./openapi.js";
import type { NodeOperations } from "./operations.js";
import { API_ERROR_CODES, ApiError, UNKNOWN_ROUTE, errorDetail, errorResponse, isFault } from "./problem.js";
import { checkMedia, decodeBody, readQuery } from "./request.js";
import type { Route } from "./route.js";
import { createRoutes } from "./routes.js";

export interface ApiOptions {
  readonly operations: NodeOperations;
  /** None at all: everyone is let in as `main`, which only makes sense on a loopback address. */
  readonly apiKeys: ApiKeys;
  /** Whether /metrics asks for no key. */
  readonly metricsPublic: boolean;
  /** The limit of one publication's content, in bytes. */
  readonly maxContentBytes: number;
  /** The limit of a request's body, in bytes. */
  readonly maxBodyBytes: number;
  /** Where clients connect; 0: any free one, which is not known yet. */
  readonly clientsPort: number;
  /** Counts requests by route, and those that were refused or failed by error code. */
  readonly stats?: Pick<Stats, "apiErrors" | "countRoute">;
  /** The package's, for the document. */
  readonly version: string;
  readonly log?: Log;
}

export interface Api extends HttpService {
  /** From now on these keys open it and no others. @throws Error as `createApi`: nothing was changed */
  useKeys(keys: ApiKeys): void;
}

/**
 * The server API. Whatever goes wrong becomes a response. The key, the path and what the head says of
 * the body are checked before any of the body is read.
 * @throws Error for an API key that no header could carry
 */
export function createApi(options: ApiOptions): Api {
  const { operations, apiKeys, metricsPublic, maxContentBytes, maxBodyBytes, clientsPort, version } = options;
  const { stats = new Stats(), log = silentLog } = options;
  const { apiErrors: errors } = stats;
  // A rate over a series that appears with 1 misses the 1.
  for (const code of API_ERROR_CODES) errors.set(code, errors.get(code) ?? 0);
  let checkKey: ReturnType<typeof createKeyCheck>;
  let keyed: boolean;
  let document: string | undefined;
  function useKeys(keys: ApiKeys): void {
    checkKey = createKeyCheck(keys);
    keyed = [...keys.values()].some((list) => list.length > 0);
    document = undefined;
  }
  useKeys(apiKeys);

  const routes = createRoutes({
    operations,
    maxContentBytes,
    onError: (error) => {
      if (isFault(error))
        log.error({ err: error }, "server API: a publication failed with an internal error");
    },
    openapi: () => (document ??= JSON.stringify(buildOpenApi(routes, { version, metricsPublic, keyed }))),
  });
  const find = createFinder(routes);
  const countsOf = (path: string): RouteStats => stats.countRoute("starling", path, STATUSES_SHOWN);
  const counts = new Map(routes.filter(isCounted).map((route) => [route, countsOf(route.path)]));
  const unknown = countsOf(UNKNOWN_ROUTE);

  async function answer(request: HttpRequest, found: Found): Promise<HttpResponse> {
    if (found.route === undefined && isForClientsPort(request)) {
      const port = clientsPort === 0 ? "the port of clients (port)" : `port ${clientsPort} (port)`;
      throw new ApiError("not_found", `clients connect to ${port}: this one has the HTTP APIs`);
    }
    // Before saying whether a path exists: that is not for those without a key either.
    const app =
      found.route === undefined || needsKey(found.route, metricsPublic) ? checkKey(request) : undefined;
    if (found.route === undefined) throw found.problem();
    const { route, segments } = found;
    if (app !== undefined && app !== DEFAULT_APP && needsMainKey(route, metricsPublic)) {
      throw new ApiError(
        "forbidden",
        `this tells of all apps of the node: it takes a key of app ${DEFAULT_APP}`,
      );
    }
    // Any page in a browser on this machine could ask: it cannot read, but it could publish.
    if (!keyed && route.method === "POST" && request.header("origin") !== undefined) {
      throw new ApiError(
        "forbidden",
        "this node has no API key configured and refuses requests from web pages",
      );
    }
    const params = route.params && check(route.params, readParams(route, segments), "path");
    // Health and metrics answer whatever a prober adds to their address.
    const query =
      route.access === "key" || route.access === "main" ? readQuery(route.query, request.query) : undefined;
    let bytes: Uint8Array = NO_BYTES;
    if (route.body) {
      checkMedia(request);
      bytes = await request.readBody(maxBodyBytes);
    }
    const json = route.body && decodeBody(bytes, route.body.optional);
    const body = route.body && check(route.body.checked, json, "body");
    const output = await route.handle({ app: app ?? DEFAULT_APP, params, query, body, json, bytes });
    if ("json" in output) return jsonResponse(output.status, output.json);
    return { ...output, headers: { ...COMMON_HEADERS, ...output.headers } };
  }

  function refused(error: unknown): HttpResponse {
    const { code } = errorDetail(error);
    errors.set(code, errors.get(code)! + 1);
    return errorResponse(error);
  }

  return {
    async handle(request) {
      const sinceMs = performance.now();
      const found = find(request);
      let response: HttpResponse;
      try {
        response = await answer(request, found);
      } catch (error) {
        if (isFault(error)) {
          const { method, path } = request;
          log.error({ err: error, method, path }, "server API: a request failed");
        }
        response = refused(error);
      }
      const counted = found.route === undefined ? unknown : counts.get(found.route);
      counted?.answered(response.status, (performance.now() - sinceMs) / 1000);
      return response;
    },
    refuse: (fault, message) => refused(new ApiError(fault, message)),
    useKeys,
  };
}

const NO_BYTES: Uint8Array = new Uint8Array();

/** Of every route, from the start: a rate over a series that appears with 1 misses the 1. */
const STATUSES_SHOWN = [200, 400, 401, 403, 503, 504];

/** Probes and scrapes go on all the time, and are nobody's work. */
function isCounted({ access }: Route): boolean {
  return access === "key" || access === "main";
}

/** Of Pusher's clients, whatever stands before it. */
const PATH_OF_CLIENTS = /^(?!\/v1\/).*\/app\//;

function isForClientsPort(request: HttpRequest): boolean {
  return PATH_OF_CLIENTS.test(request.path) || request.header("upgrade")?.toLowerCase() === "websocket";
}

type Found =
  | { readonly route: Route; readonly segments: readonly string[] }
  | { readonly route: undefined; readonly problem: () => ApiError };

function createFinder(routes: readonly Route[]): (request: HttpRequest) => Found {
  const templates = routes.map((route) => ({ route, pieces: route.path.split("/") }));
  // No template with parameters matches the path of one without.
  const fixed = new Map<string, Route>();
  for (const route of routes) {
    if (!route.path.includes("{")) fixed.set(`${route.method} ${route.path}`, route);
  }

  return ({ method, path }) => {
    const exact = fixed.get(`${method} ${path}`);
    if (exact !== undefined) return { route: exact, segments: NO_SEGMENTS };
    const segments = (path === "*" ? "/" : path).split("/");
    const here = templates.filter(({ pieces }) => matches(pieces, segments)).map(({ route }) => route);
    const wanted = method === "HEAD" ? "GET" : method;
    const route = here.find((candidate) => candidate.method === wanted);
    if (route !== undefined) return { route, segments };
    if (here.length > 0) return { route: undefined, problem: () => wrongMethod(method, here) };
    return { route: undefined, problem: () => unknownPath(path, segments, templates) };
  };
}

const NO_SEGMENTS: readonly string[] = [];
const isParameter = (piece: string): boolean => piece.startsWith("{");

function matches(pieces: readonly string[], segments: readonly string[]): boolean {
  return (
    pieces.length === segments.length &&
    pieces.every((piece, index) => isParameter(piece) || piece === segments[index])
  );
}

function wrongMethod(method: string, routes: readonly Route[]): ApiError {
  const allow = routes.map((route) => (route.method === "GET" ? "GET, HEAD" : route.method)).join(", ");
  return new ApiError(
    "method_not_allowed",
    `method ${quote(method)} is not allowed here; allowed: ${allow}`,
    { allow },
  );
}

function unknownPath(
  path: string,
  segments: readonly string[],
  templates: readonly { readonly route: Route; readonly pieces: readonly string[] }[],
): ApiError {
  // Parameters cost nothing: each template is compared with the path's own values in their places.
  const candidates = templates.map(({ pieces }) =>
    pieces.map((piece, index) => (isParameter(piece) ? segments[index] || piece : piece)).join("/"),
  );
  const near = suggest(path, candidates);
  const hint =
    near === undefined
      ? "GET /openapi.json lists all"
      : `did you mean ${templates[candidates.indexOf(near)]!.route.path}?`;
  return new ApiError("not_found", `there is no path ${quote(path)}: ${hint}`);
}

function readParams(route: Route, segments: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {};
  for (const [index, piece] of route.path.split("/").entries()) {
    if (isParameter(piece)) params[piece.slice(1, -1)] = decode(segments[index]!);
  }
  return params;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new StarlingError("bad_request", `${quote(segment)} in the path is not percent-encoded UTF-8`, {
      cause,
    });
  }
}
