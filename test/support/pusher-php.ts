/**
 * Requests as Pusher's SDK for PHP writes them, byte for byte: version 7 by Guzzle, version 4 by cURL. Which fields, in
 * which order, escaped how, is that of their sources.
 */

import { createHash, createHmac } from "node:crypto";
import { APP } from "./pusher-clients.js";
import { RawHttp, type RawResponse } from "./raw-http.js";

/** As json_encode() without flags: slashes and all that is not ASCII are escaped. */
export function phpJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll("/", "\\/")
    .replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

type Params = Readonly<Record<string, string>>;

export interface PhpEvent {
  readonly channel: string;
  readonly name: string;
  readonly data: unknown;
  readonly socket_id?: string;
  readonly info?: string;
}

export interface PhpSdkOptions {
  readonly version: 4 | 7;
  readonly appId?: string;
  readonly secret?: string;
  /** That stands before `/apps` in the URL: it is not signed. */
  readonly path?: string;
}

export interface PhpSdk {
  trigger(
    channels: string | readonly string[],
    event: string,
    data: unknown,
    params?: Params,
  ): Promise<RawResponse>;
  triggerBatch(batch: readonly PhpEvent[]): Promise<RawResponse>;
  sendToUser(user: string, event: string, data: unknown): Promise<RawResponse>;
  terminateUserConnections(user: string): Promise<RawResponse>;
  getChannels(params?: Params): Promise<RawResponse>;
  getChannelInfo(channel: string, params?: Params): Promise<RawResponse>;
  getPresenceUsers(channel: string): Promise<RawResponse>;
  authorizeChannel(channel: string, socketId: string): string;
  authorizePresenceChannel(channel: string, socketId: string, user: string, info?: unknown): string;
  authenticateUser(socketId: string, userData: object): string;
}

/** @param url  of the port that it calls */
export function phpSdk(
  url: string,
  { version, appId = APP.id, secret = APP.secret, path: prefix = "" }: PhpSdkOptions,
): PhpSdk {
  const { host } = new URL(url);
  const hmac = (text: string): string => createHmac("sha256", secret).update(text).digest("hex");

  /** In the order in which the SDK has them. */
  function signed(method: string, path: string, params: Params): [string, string][] {
    const all = {
      auth_key: APP.key,
      auth_timestamp: `${Math.floor(Date.now() / 1000)}`,
      auth_version: "1.0",
      ...params,
    };
    const sorted = Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1));
    const query = sorted.map(([name, value]) => `${name}=${value}`).join("&");
    const both: [string, string][] = [...sorted, ["auth_signature", hmac(`${method}\n${path}\n${query}`)]];
    return version === 7 ? both : both.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  function ask(method: string, rest: string, params: Params, body?: string): Promise<RawResponse> {
    const path = `/apps/${appId}${rest}`;
    const pairs = signed(method, path, params);
    // http_build_query() of Guzzle escapes, the implode() of version 4 does not.
    const query = pairs
      .map(([name, value]) => `${name}=${version === 7 ? encodeURIComponent(value) : value}`)
      .join("&");
    const library = `X-Pusher-Library: pusher-http-php ${version === 7 ? "7.2.7" : "4.1.5"}`;
    const headers =
      version === 7
        ? ["User-Agent: GuzzleHttp/7", "Content-Type: application/json", library]
        : ["Accept: */*", "Content-Type: application/json", library];
    const length = body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const head = [
      `${method} ${prefix}${path}?${query} HTTP/1.1`,
      `Host: ${host}`,
      ...headers,
      ...length,
      "",
      "",
    ];
    return RawHttp.ask(url.replace("ws:", "http:"), head.join("\r\n"), body ?? "");
  }

  const post = (rest: string, body: string): Promise<RawResponse> =>
    ask("POST", rest, { body_md5: createHash("md5").update(body).digest("hex") }, body);

  /** Version 7 says `channel` where there is one. */
  function eventOf(channels: readonly string[], name: string, data: unknown, params: object): object {
    const where = version === 7 && channels.length === 1 ? { channel: channels[0] } : { channels };
    return { name, data: phpJson(data), ...where, ...params };
  }

  function authorize(channel: string, socketId: string, channelData?: string): string {
    const text = `${socketId}:${channel}${channelData === undefined ? "" : `:${channelData}`}`;
    return JSON.stringify({
      auth: `${APP.key}:${hmac(text)}`,
      ...(channelData === undefined ? {} : { channel_data: channelData }),
    });
  }

  const sdk: PhpSdk = {
    trigger: (channels, event, data, params = {}) =>
      post(
        "/events",
        phpJson(eventOf(typeof channels === "string" ? [channels] : channels, event, data, params)),
      ),
    triggerBatch: (events) =>
      post(
        "/batch_events",
        phpJson({
          batch: events.map(({ channel, name, data, socket_id, info }) =>
            version === 7
              ? eventOf([channel], name, data, { info, socket_id })
              : { channel, name, data: typeof data === "string" ? data : phpJson(data), socket_id },
          ),
        }),
      ),
    sendToUser: (user, event, data) => sdk.trigger([`#server-to-user-${user}`], event, data),
    terminateUserConnections: (user) => post(`/users/${user}/terminate_connections`, "{}"),
    getChannels: (params = {}) => ask("GET", "/channels", params),
    getChannelInfo: (channel, params = {}) => ask("GET", `/channels/${channel}`, params),
    getPresenceUsers: (channel) => ask("GET", `/channels/${channel}/users`, {}),
    authorizeChannel: (channel, socketId) => authorize(channel, socketId),
    authorizePresenceChannel: (channel, socketId, user, info) =>
      authorize(
        channel,
        socketId,
        phpJson({ user_id: user, ...(info === undefined ? {} : { user_info: info }) }),
      ),
    authenticateUser(socketId, userData) {
      const text = phpJson(userData);
      return phpJson({ auth: `${APP.key}:${hmac(`${socketId}::user::${text}`)}`, user_data: text });
    },
  };
  return sdk;
}

/** What Laravel's broadcaster makes of an event: names of channels as they are, at most 100 at a time. */
export async function laravelBroadcast(
  sdk: PhpSdk,
  channels: readonly string[],
  event: string,
  { socket, ...payload }: { readonly socket?: string; readonly [name: string]: unknown },
): Promise<readonly RawResponse[]> {
  const answers: RawResponse[] = [];
  // An empty array of PHP is a list.
  const data = Object.keys(payload).length === 0 ? [] : payload;
  for (let at = 0; at < channels.length; at += 100) {
    const params = socket === undefined ? {} : { socket_id: socket };
    answers.push(await sdk.trigger(channels.slice(at, at + 100), event, data, params));
  }
  return answers;
}
