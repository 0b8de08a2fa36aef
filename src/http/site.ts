/** Plain requests on the clients' port: the demo's pages and the SDK's browser build. */

import { readFileSync } from "node:fs";
import { extname } from "node:path";
import type { HttpHandler, HttpRequest, HttpResponse, UpgradeRefusal } from "../core/transport.js";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};

/** RFC 9110 15.5.22. */
const WELCOME: UpgradeRefusal = { status: 426, message: "WebSockets are served here" };

export interface SiteOptions {
  /** Request path to file; the files are read once, now. Empty: nothing but 404. */
  readonly files: Readonly<Record<string, URL>>;
  /** Why there is nothing at a path where there might be. */
  readonly absent: Readonly<Record<string, string>>;
  readonly apiPort: number;
  /** What stands before the paths of Pusher's clients and back ends. */
  readonly pusherPath: string;
  /** Why a WebSocket would be refused at the URL of a plain request, to a page of that origin. */
  readonly explain: (request: HttpRequest, origin: string | undefined) => UpgradeRefusal | undefined;
}

/** @throws Error naming the file that is not there */
export function createSite(options: SiteOptions): HttpHandler {
  const pages = new Map<string, HttpResponse>();
  for (const [path, file] of Object.entries(options.files)) {
    pages.set(path, {
      status: 200,
      headers: {
        "content-type": TYPES[extname(file.pathname)] ?? "application/octet-stream",
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "content-security-policy":
          "default-src 'self'; connect-src 'self' ws: wss: http: https:; frame-ancestors 'none'",
      },
      body: readFileSync(file),
    });
  }
  const notFound = (why: string): HttpResponse => ({
    status: 404,
    headers: { "content-type": "text/plain; charset=utf-8" },
    body: `Not found: ${why}\n`,
  });
  const apiPort = options.apiPort === 0 ? "apiPort" : `port ${options.apiPort} (apiPort)`;
  const missing = notFound(
    `this port serves WebSockets, those of Pusher's clients at ${options.pusherPath}/app/KEY, and Pusher's HTTP API below ` +
      `${options.pusherPath}/apps/ID. The server API, /healthz and /metrics are on ${apiPort}.`,
  );
  for (const [path, why] of Object.entries(options.absent)) pages.set(path, notFound(why));
  const wrongMethod: HttpResponse = {
    status: 405,
    headers: { "content-type": "text/plain; charset=utf-8", allow: "GET, HEAD" },
    body: "GET or HEAD.\n",
  };
  const noBody: HttpResponse = {
    status: 400,
    headers: { "content-type": "text/plain; charset=utf-8" },
    body: "A request body is not accepted here.\n",
  };
  return (request) => {
    const { method, path, hasBody } = request;
    if (hasBody) return Promise.resolve(noBody);
    // Who asks for nothing but text is a client whose WebSocket was refused: pages of other origins may read it.
    if (request.header("accept") === "text/plain") {
      const { status, message } = options.explain(request, originOf(request)) ?? WELCOME;
      return Promise.resolve({
        status,
        headers: { ...missing.headers, "access-control-allow-origin": "*", "cache-control": "no-store" },
        body: `${message}\n`,
      });
    }
    const page = pages.get(path);
    if (page === undefined) return Promise.resolve(missing);
    return Promise.resolve(method === "GET" || method === "HEAD" ? page : wrongMethod);
  };
}

/** A page that asks its own origin sends Origin with a WebSocket, but not with a GET (Fetch 3.2): it sends Referer. */
function originOf(request: HttpRequest): string | undefined {
  return request.header("origin") ?? /^https?:\/\/[^/]+/i.exec(request.header("referer") ?? "")?.[0];
}
