/** Routes for what a channel keeps beside its subscribers: history and presence, where its rules say so. */

import { encodeHistoryBody } from "../protocols/starling/json-codec.js";
import { memberOf } from "../protocols/starling/notices.js";
import { textAt } from "../encoding/text-cache.js";
import { jsonTextResponse } from "./message.js";
import type { NodeOperations } from "./operations.js";
import { BUS_ERRORS, named, route, type Route } from "./route.js";
import * as schemas from "./schemas.js";

const NOT_ENABLED = 409;
/** The limit of an answer's publications. */
const PAGE_BYTES_MAX = 1_048_576;

export function channelStateRoutes({ operations }: { readonly operations: NodeOperations }): Route[] {
  return [
    route({
      method: "GET",
      path: "/v1/channels/{channel}/history",
      id: "getHistory",
      summary: "Read what a channel keeps",
      description:
        "Oldest first. offset and epoch are the position of the channel's newest publication. A page holds at most 1 MiB, or one publication: where more is true, read on from the position of its last publication.",
      access: "key",
      params: schemas.channelParams,
      query: schemas.historyQuery,
      responses: { 200: { description: "Publications.", json: named("History", schemas.history) } },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ app, params: { channel }, query: { since_offset, since_epoch, limit, reverse } }) {
        const since =
          since_offset === undefined || since_epoch === undefined
            ? undefined
            : { offset: since_offset, epoch: since_epoch };
        const page = await operations.history(app, channel, {
          since,
          limit,
          reverse,
          maxBytes: PAGE_BYTES_MAX,
        });
        const { publications, top, more = false } = page;
        const body = encodeHistoryBody({ channel, publications, top, more, maxBytes: PAGE_BYTES_MAX });
        return jsonTextResponse(200, textAt(body, 0, body.length));
      },
    }),
    route({
      method: "GET",
      path: "/v1/channels/{channel}/presence",
      id: "getPresence",
      summary: "List who is in a channel, over all nodes",
      description:
        "A user whose last connection is gone is listed by it until the leave is published, presenceGraceMs later.",
      access: "key",
      params: schemas.channelParams,
      query: schemas.presenceQuery,
      responses: { 200: { description: "Members.", json: named("Presence", schemas.presence) } },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ app, params: { channel }, query: { limit } }) {
        const { members, connections, users } = await operations.presence(app, channel, limit);
        return { status: 200, json: { channel, members: members.map(memberOf), connections, users } };
      },
    }),
    route({
      method: "GET",
      path: "/v1/channels/{channel}/presence-stats",
      id: "getPresenceStats",
      summary: "Count who is in a channel, over all nodes",
      description: "Counts the members that getPresence lists, without its limit.",
      access: "key",
      params: schemas.channelParams,
      responses: {
        200: { description: "The counts.", json: named("PresenceStats", schemas.presenceStats) },
      },
      errors: [NOT_ENABLED, ...BUS_ERRORS],
      async handle({ app, params: { channel } }) {
        const { connections, users } = await operations.presenceStats(app, channel);
        return { status: 200, json: { channel, connections, users } };
      },
    }),
  ];
}
