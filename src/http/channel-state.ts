/** Routes for what a channel keeps beside its subscribers: history and presence, where its rules say so. */

import type { BusPublication } from "../core/broker.js";
import { DEFAULT_APP } from "../core/channel.js";
import type { PresenceMember } from "../core/presence.js";
import { Encoding, type Payload } from "../protocol/messages.js";
import { msgpackToJson } from "../protocol/transcode.js";
import { jsonTextResponse } from "./message.js";
import type { NodeOperations } from "./operations.js";
import { BUS_ERRORS, named, route, type Route } from "./route.js";
import * as schemas from "./schemas.js";

const NOT_ENABLED = 409;

export function channelStateRoutes({ operations }: { readonly operations: NodeOperations }): Route[] {
  return [
    route({
      method: "GET",
      path: "/v1/channels/{channel}/history",
      id: "getHistory",
      summary: "Read what a channel keeps",
      description: "Oldest first. offset and epoch are the position of the channel's newest publication.",
      access: "key",
      params: schemas.channelParams,
      query: schemas.historyQuery,
      responses: { 200: { description: "Publications.", json: named("History", schemas.history) } },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ params: { channel }, query: { since_offset, since_epoch, limit, reverse } }) {
        const since =
          since_offset === undefined || since_epoch === undefined
            ? undefined
            : { offset: since_offset, epoch: since_epoch };
        const page = await operations.history(DEFAULT_APP, channel, { since, limit, reverse });
        return jsonTextResponse(200, historyText(channel, page));
      },
    }),
    route({
      method: "GET",
      path: "/v1/channels/{channel}/presence",
      id: "getPresence",
      summary: "List who is in a channel, over all nodes",
      description:
        "A user whose last connection is gone is listed by it until the leave is told, presenceGraceMs later.",
      access: "key",
      params: schemas.channelParams,
      query: schemas.presenceQuery,
      responses: { 200: { description: "Members.", json: named("Presence", schemas.presence) } },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ params: { channel }, query: { limit } }) {
        const { members, connections, users } = await operations.presence(DEFAULT_APP, channel, limit);
        return { status: 200, json: { channel, members: members.map(memberOf), connections, users } };
      },
    }),
    route({
      method: "GET",
      path: "/v1/channels/{channel}/presence-stats",
      id: "getPresenceStats",
      summary: "Count who is in a channel, over all nodes",
      description: "Counts those whom getPresence lists, without its limit.",
      access: "key",
      params: schemas.channelParams,
      responses: {
        200: { description: "The counts.", json: named("PresenceStats", schemas.presenceStats) },
      },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ params: { channel } }) {
        const { connections, users } = await operations.presenceStats(DEFAULT_APP, channel);
        return { status: 200, json: { channel, connections, users } };
      },
    }),
  ];
}

function memberOf({ connection, user }: PresenceMember): { connection: string; user?: string } {
  return user === null ? { connection } : { connection, user };
}

/** Content goes in as the text it came in: parsed and written anew, large numbers would be rounded. */
function historyText(
  channel: string,
  { publications, top }: Awaited<ReturnType<NodeOperations["history"]>>,
): string {
  const items = publications.map(publicationText).join(",");
  const { offset, epoch } = top;
  return `{"channel":${JSON.stringify(channel)},"publications":[${items}],"offset":${offset},"epoch":${JSON.stringify(epoch)}}`;
}

function publicationText({ payload, position, from, event, tags }: BusPublication): string {
  const rest = JSON.stringify({ ...position, from, event, tags });
  return `{${contentText(payload)},${rest.slice(1)}`;
}

function contentText({ bytes, encoding }: Payload): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (encoding === Encoding.binary) return `"contentBase64":"${buffer.toString("base64")}"`;
  return `"content":${encoding === Encoding.json ? buffer.toString() : msgpackToJson(bytes)}`;
}
