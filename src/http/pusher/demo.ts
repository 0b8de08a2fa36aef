/** The back end of the demo page that pusher-js runs in: what an application's own does for its pages, for two channels. */

import { StarlingError, quote } from "../../core/errors.js";
import type { Apps, KeyPair } from "../../core/app.js";
import { silentLog, type Log } from "../../core/log.js";
import type { HttpRequest, HttpResponse } from "../../core/transport.js";
import { Encoding } from "../../encoding/payload.js";
import { checkUserId, isSocketId } from "../../protocols/pusher/channels.js";
import { PLAIN_EVENT } from "../../protocols/pusher/framing.js";
import { sign } from "../../protocols/pusher/signature.js";
import { jsonResponse } from "../message.js";
import type { NodeOperations } from "../operations.js";
import { ApiError, isFault } from "../problem.js";
import { checkMedia, decodeBody } from "../request.js";
import { refusal, type PusherApi } from "./api.js";
import { fieldsOf, text } from "./fields.js";

/** Public, so that Starling's own clients are in it too. */
const ROOM = "lobby";
const MEMBERS = `presence-${ROOM}`;

const AUTH_BYTES_MAX = 4 * 1024;
const MESSAGE_BYTES_MAX = 16 * 1024;
const NAME_CHARACTERS_MAX = 40;
const TEXT_CHARACTERS_MAX = 2000;

export interface PusherDemoOptions {
  readonly operations: Pick<NodeOperations, "publish">;
  readonly apps: Pick<Apps, "ofKey">;
  /** Of the app in which the page's channels are. */
  readonly pair: KeyPair;
  /** What stands before `/app/...`. */
  readonly pathPrefix: string;
  readonly log?: Log;
}

type Route = (request: HttpRequest) => Promise<HttpResponse>;

/** Believes whatever name a page gives: for a node that anyone may use who reaches it. */
export function createPusherDemo(options: PusherDemoOptions): PusherApi {
  const { operations, apps, pair, pathPrefix, log = silentLog } = options;
  const routes: Readonly<Record<string, Route>> = {
    "GET /pusher/settings": () =>
      Promise.resolve(jsonResponse(200, { key: pair.key, path: pathPrefix, room: ROOM, members: MEMBERS })),

    async "POST /pusher/auth"(request) {
      const form = new URLSearchParams(Buffer.from(await request.readBody(AUTH_BYTES_MAX)).toString());
      return jsonResponse(200, authorize(form, pair));
    },

    async "POST /pusher/messages"(request) {
      // A form of another site's page is no JSON.
      checkMedia(request);
      const said = readMessage(decodeBody(await request.readBody(MESSAGE_BYTES_MAX), false));
      const app = apps.ofKey(pair.key)!.id;
      const payload = { bytes: Buffer.from(JSON.stringify(said)), encoding: Encoding.text };
      const publication = { app, channel: ROOM, payload, event: PLAIN_EVENT };
      await operations.publish({ ...publication, tags: undefined, exclude: undefined });
      return jsonResponse(200, {});
    },
  };

  return (request) => {
    const name = `${request.method} ${request.path}`;
    // Since a reload the app may have other keys.
    if (!Object.hasOwn(routes, name) || apps.ofKey(pair.key) === undefined) return undefined;
    return routes[name]!(request).catch((error: unknown) => {
      if (isFault(error)) log.error({ err: error, path: request.path }, "demo: a request failed");
      return refusal(error);
    });
  };
}

/** @throws ApiError, StarlingError */
function authorize(form: URLSearchParams, { key, secret }: KeyPair): { auth: string; channel_data: string } {
  const socketId = form.get("socket_id") ?? "";
  const channel = form.get("channel_name") ?? "";
  const user = form.get("user") ?? "";
  if (!isSocketId(socketId))
    throw new StarlingError(
      "bad_request",
      `socket_id ${quote(socketId)} is not two numbers with a dot between`,
    );
  if (channel !== MEMBERS)
    throw new ApiError("forbidden", `the demo signs for ${MEMBERS}, not ${quote(channel)}`);
  checkUserId(user);
  const name = (form.get("name") ?? "").slice(0, NAME_CHARACTERS_MAX);
  const channelData = JSON.stringify({ user_id: user, user_info: { name } });
  const auth = `${key}:${sign(secret, `${socketId}:${channel}:${channelData}`)}`;
  return { auth, channel_data: channelData };
}

/** As the demo's other page writes it. @throws StarlingError bad_request */
function readMessage(body: unknown): { name: string; text: string; id: string; at: number } {
  const fields = fieldsOf(body, "");
  const read = (name: string, most: number): string => {
    const value = text(fields, name);
    if (value.length > 0 && value.length <= most) return value;
    throw new StarlingError(
      "bad_request",
      `"${name}" has ${value.length} characters, 1 to ${most} are allowed`,
    );
  };
  return {
    name: read("name", NAME_CHARACTERS_MAX),
    text: read("text", TEXT_CHARACTERS_MAX),
    id: read("id", 64),
    at: Date.now(),
  };
}
