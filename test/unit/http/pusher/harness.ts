/** Pusher's HTTP API on fake operations, and requests that are signed for it. */

import { createHash } from "node:crypto";
import { Apps, type AppSettings } from "../../../../src/core/app.js";
import { createOpenAuthorizer } from "../../../../src/auth/open.js";
import { rulesByNamespace } from "../../../../src/core/channel-rules.js";
import { silentLog, type Log } from "../../../../src/core/log.js";
import type { PublishInput } from "../../../../src/core/operations.js";
import { createRefusalLog } from "../../../../src/core/refusal-log.js";
import { Stats } from "../../../../src/core/stats.js";
import type { HttpRequest } from "../../../../src/core/transport.js";
import { createPusherApi } from "../../../../src/http/pusher/api.js";
import type { PusherOperations } from "../../../../src/http/pusher/operations.js";
import { stringToSign } from "../../../../src/http/pusher/request-auth.js";
import { readQuery } from "../../../../src/http/pusher/query.js";
import { rulesByKind } from "../../../../src/protocols/pusher/rules.js";
import { PUSHER, PUSHER_DEFAULTS, type PusherSettings } from "../../../../src/protocols/pusher/settings.js";
import { sign } from "../../../../src/protocols/pusher/signature.js";

const PAIR = { key: "key-of-3", secret: "secret-of-3" };

function app(id: string, settings: Partial<AppSettings> = {}): AppSettings {
  return {
    id,
    authorizer: createOpenAuthorizer(),
    rulesOf: rulesByKind(rulesByNamespace({}), PUSHER_DEFAULTS),
    ...settings,
  };
}

export interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  /** Text as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly pair?: { readonly key: string; readonly secret: string };
  /** What is signed, where it is another path than the one that is asked for. */
  readonly signedPath?: string;
}

export function harness(
  overrides: Partial<PusherOperations> = {},
  settings: Partial<PusherSettings> = {},
  pathPrefix = "",
  log: Log = silentLog,
) {
  const published: PublishInput[] = [];
  const calls: unknown[] = [];
  const stats = new Stats();
  const operations: PusherOperations = {
    publish: (input) => {
      published.push(input);
      return Promise.resolve(undefined);
    },
    channels: (query) => {
      calls.push(query);
      return Promise.resolve({ channels: [], missing: [] });
    },
    subscriberCounts: (_app, channels) =>
      Promise.resolve({ counts: channels.map((name) => name.length), missing: [] }),
    history: () => Promise.resolve({ publications: [], top: { offset: 0, epoch: "e" } }),
    presence: () => Promise.resolve({ members: [], connections: 0, users: 0 }),
    presenceStats: () => Promise.resolve({ connections: 5, users: 3 }),
    disconnectUser: (...args) => {
      calls.push(args);
      return Promise.resolve({ missing: [] });
    },
    ...overrides,
  };
  const apps = new Apps([
    app("main"),
    app("3", {
      keys: [{ key: "older-key-of-3", secret: "older" }, PAIR],
      protocolSettings: { [PUSHER]: { ...PUSHER_DEFAULTS, ...settings } },
    }),
    app("off", { enabled: false, keys: [{ key: "key-of-off", secret: "off" }] }),
  ]);
  const api = createPusherApi({
    ...{ operations, apps, pathPrefix, maxBodyBytes: 1_000_000, stats, log },
    logRefusal: createRefusalLog(log),
  });

  async function ask({
    method = "POST",
    path = "/apps/3/events",
    query = "",
    body,
    pair = PAIR,
    signedPath = path,
  }: Call) {
    const bytes = Buffer.from(
      body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body),
    );
    const all = [
      ...(query === "" ? [] : [query]),
      `auth_key=${pair.key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0`,
      ...(bytes.length === 0 ? [] : [`body_md5=${createHash("md5").update(bytes).digest("hex")}`]),
    ].join("&");
    const signature = sign(pair.secret, stringToSign(method, signedPath, readQuery(all)));
    return raw({ method, path, query: `${all}&auth_signature=${signature}`, bytes });
  }

  async function raw({
    method = "POST",
    path,
    query = "",
    bytes = Buffer.alloc(0),
  }: {
    method?: string;
    path: string;
    query?: string;
    bytes?: Buffer;
  }) {
    const request: HttpRequest = {
      ...{ method, path, query },
      header: () => undefined,
      hasBody: bytes.length > 0,
      readBody: () => Promise.resolve(bytes),
    };
    const response = await api(request);
    if (response === undefined) return undefined;
    return { ...response, text: Buffer.from(response.body as Uint8Array).toString() };
  }

  return { ask, raw, published, calls, apps, stats, errors: stats.apiErrors };
}

export type Answer = NonNullable<Awaited<ReturnType<ReturnType<typeof harness>["ask"]>>>;
