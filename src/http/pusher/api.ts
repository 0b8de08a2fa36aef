/** Pusher's HTTP API: which request is what, who may send it, and how it is answered. */

import type { App } from "../../core/app.js";
import { quote } from "../../core/errors.js";
import { silentLog, type Log } from "../../core/log.js";
import type { LogRefusal } from "../../core/refusal-log.js";
import type { RouteStats, Stats } from "../../core/stats.js";
import type { HttpRequest, HttpResponse } from "../../core/transport.js";
import { pusherSettings } from "../../protocols/pusher/settings.js";
import { COMMON_HEADERS } from "../message.js";
import { ApiError, UNKNOWN_ROUTE, errorDetail, errorHead, isFault, type ApiErrorCode } from "../problem.js";
import { describeChannel, listChannels, listUsers } from "./channels.js";
import { publishBatch, publishEvent } from "./events.js";
import type { PusherApps, PusherCall, PusherOperations } from "./operations.js";
import { decoded, readQuery, type Query } from "./query.js";
import { checkBody, checkHead } from "./request-auth.js";
import { terminateConnections } from "./users.js";

export interface PusherApiOptions {
  readonly operations: PusherOperations;
  readonly apps: PusherApps;
  /** Of the paths, as clients have them: `/pusher`, or "". A proxy may have taken it off. */
  readonly pathPrefix: string;
  /** The limit of a request's body, in bytes. */
  readonly maxBodyBytes: number;
  /** Counts requests by route, and those that were refused or failed by error code. */
  readonly stats: Pick<Stats, "apiErrors" | "countRoute">;
  readonly log?: Log;
  readonly logRefusal: LogRefusal;
}

/** Never rejects. undefined: the path is not one of this API. */
export type PusherApi = (request: HttpRequest) => Promise<HttpResponse> | undefined;

interface Route {
  /** What metrics call it. */
  readonly label: string;
  readonly method: "GET" | "POST";
  /** Behind the app's own part. What its group matches is the call's name. */
  readonly path: RegExp;
  handle(call: PusherCall): Promise<HttpResponse>;
}

/** The most frequent ones come first. */
const ROUTES: readonly Route[] = [
  { label: "/events", method: "POST", path: /^\/events$/, handle: publishEvent },
  { label: "/batch_events", method: "POST", path: /^\/batch_events$/, handle: publishBatch },
  { label: "/channels", method: "GET", path: /^\/channels$/, handle: listChannels },
  { label: "/channels/{channel}", method: "GET", path: /^\/channels\/([^/]+)$/, handle: describeChannel },
  {
    label: "/channels/{channel}/users",
    method: "GET",
    path: /^\/channels\/([^/]+)\/users$/,
    handle: listUsers,
  },
  {
    label: "/users/{user}/terminate_connections",
    method: "POST",
    path: /^\/users\/([^/]+)\/terminate_connections$/,
    handle: terminateConnections,
  },
];
/** How this API answers. A rate over a series that appears with 1 misses the 1. */
const STATUSES_SHOWN = [200, 400, 401, 403, 404, 405, 413, 429, 500, 503, 504];

interface CountedRoute extends Route {
  readonly counts: RouteStats;
}

/** The SDK for Python leaves the app out: it is the one of the key. */
const WITHOUT_APP = /^\/users\/[^/]+\/terminate_connections$/;
const APPS = "/apps/";

/** Pusher has 429 for who asks more than is taken. 503 is for what the bus cannot take now. */
const STATUSES: Readonly<Partial<Record<ApiErrorCode, number>>> = { overloaded: 429 };

export function createPusherApi(options: PusherApiOptions): PusherApi {
  const { operations, apps, pathPrefix, maxBodyBytes, stats, log = silentLog, logRefusal } = options;
  const { apiErrors: errors } = stats;
  const countsOf = (label: string): RouteStats => stats.countRoute("pusher", label, STATUSES_SHOWN);
  const routes: readonly CountedRoute[] = ROUTES.map((route) => ({
    ...route,
    counts: countsOf(route.label),
  }));
  const unknown = countsOf(UNKNOWN_ROUTE);

  async function answer(request: HttpRequest, own: string): Promise<HttpResponse> {
    const sinceMs = performance.now();
    let counts = unknown;
    let response: HttpResponse;
    try {
      const { method, path } = request;
      const { appId, rest } = split(own);
      const { route, name } = find(routes, method, path, rest);
      counts = route.counts;
      const query = readQuery(request.query);
      const app = appOf(appId, query);
      countRefusal(app, () =>
        checkHead(app, { method, paths: signedPaths(path, own, pathPrefix), query }, Date.now()),
      );
      if (!app.enabled) {
        app.counts.refusedDisabled++;
        throw new ApiError("forbidden", `app ${quote(app.id)} is disabled`);
      }
      // Only now: for a stranger's body there is no memory.
      const body = request.hasBody ? await request.readBody(maxBodyBytes) : NO_BYTES;
      countRefusal(app, () => checkBody(query, body));
      app.counts.signaturesValid++;
      response = await route.handle({ operations, app, settings: pusherSettings(app), query, body, name });
    } catch (error) {
      response = refused(error, request);
    }
    counts.answered(response.status, (performance.now() - sinceMs) / 1000);
    return response;
  }

  function refused(error: unknown, { method, path }: HttpRequest): HttpResponse {
    const { code, message } = errorDetail(error);
    errors.set(code, (errors.get(code) ?? 0) + 1);
    if (isFault(error)) log.error({ err: error, method, path }, "Pusher API: a request failed");
    else logRefusal(`Pusher API: a request was refused: ${message}`, () => ({ code, method, path }));
    return refusal(error);
  }

  function appOf(id: string | undefined, query: Query): App {
    if (id !== undefined) {
      const app = apps.get(id);
      if (app !== undefined && app.keys.length > 0) return app;
      throw new ApiError("not_found", `there is no app ${quote(id)} with keys on this node`);
    }
    const key = query.get("auth_key") ?? "";
    const app = apps.ofKey(key);
    if (app !== undefined) return app;
    throw new ApiError("unauthorized", `auth_key ${quote(key)} is not a key of any app on this node`);
  }

  return (request) => {
    const own = ownPath(request.path, pathPrefix);
    return own === undefined ? undefined : answer(request, own);
  };
}

/** @param check  throws where the request is not signed as it must be */
function countRefusal({ counts }: App, check: () => void): void {
  try {
    check();
  } catch (error) {
    counts.signaturesRefused++;
    throw error;
  }
}

const NO_BYTES: Uint8Array = new Uint8Array();

/** SDKs show the body of an answer as it is: text. */
export function refusal(error: unknown): HttpResponse {
  const { detail, status, headers } = errorHead(error, STATUSES);
  return {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", ...COMMON_HEADERS, ...headers },
    body: `${detail.message}\n`,
  };
}

/** @returns the path without the prefix; undefined: it is not this API's */
function ownPath(path: string, prefix: string): string | undefined {
  const own = prefix !== "" && path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
  return own.startsWith(APPS) || WITHOUT_APP.test(own) ? own : undefined;
}

/**
 * What the client may have signed: the path as it came; with the prefix, which a proxy took off; or without it, as the
 * SDK for PHP signs. Each as it was before its characters were escaped on the way too.
 */
function signedPaths(path: string, own: string, prefix: string): readonly string[] {
  if (prefix === "" && !path.includes("%")) return [path];
  const paths = new Set([path, own, prefix + own]);
  for (const each of [...paths]) paths.add(decoded("path", each));
  return [...paths];
}

function split(own: string): { appId: string | undefined; rest: string } {
  if (!own.startsWith(APPS)) return { appId: undefined, rest: own };
  const end = own.indexOf("/", APPS.length);
  if (end === -1) return { appId: decoded("path", own.slice(APPS.length)), rest: "" };
  return { appId: decoded("path", own.slice(APPS.length, end)), rest: own.slice(end) };
}

function find(
  routes: readonly CountedRoute[],
  method: string,
  path: string,
  rest: string,
): { route: CountedRoute; name: string } {
  let allowed: string | undefined;
  for (const route of routes) {
    const match = route.path.exec(rest);
    if (match === null) continue;
    if (route.method === method) return { route, name: decoded("path", match[1] ?? "") };
    allowed = route.method;
  }
  if (allowed === undefined)
    throw new ApiError("not_found", `there is no ${quote(path)} in Pusher's HTTP API`);
  const problem = `method ${quote(method)} is not allowed here; allowed: ${allowed}`;
  throw new ApiError("method_not_allowed", problem, { allow: allowed });
}
