/** Every route of the API: what it takes, what it does, what it answers. */

import { check } from "./check.js";
import { errorDetail } from "./problem.js";
import type { NodeOperations } from "./operations.js";
import { describePublished, publicationStarts, readPublication } from "./publication.js";
import { channelStateRoutes } from "./channel-state.js";
import { BUS_ERRORS, named, route, type Route } from "./route.js";
import * as schemas from "./schemas.js";

export interface RoutesOptions {
  readonly operations: NodeOperations;
  readonly maxContentBytes: number;
  /** Told of what went wrong inside a request that is answered all the same. */
  readonly onError: (error: unknown) => void;
  /** The OpenAPI document as JSON text. */
  readonly openapi: () => string;
}

const ACCEPTED = {
  202: {
    description: "The command was sent to every node. All have run it but those in `missing`.",
    json: named("Accepted", schemas.accepted),
  },
} as const;

export function createRoutes(options: RoutesOptions): readonly Route[] {
  return [
    ...publishRoutes(options),
    ...queryRoutes(options),
    ...channelStateRoutes(options),
    ...userRoutes(options),
    ...nodeRoutes(options),
  ];
}

function publishRoutes({ operations, maxContentBytes, onError }: RoutesOptions): Route[] {
  return [
    route({
      method: "POST",
      path: "/v1/publish",
      id: "publish",
      summary: "Publish to a channel",
      description: "Reaches every subscriber on every node. Channels that start with # are allowed here.",
      access: "key",
      body: {
        documented: named("Publication", schemas.publication),
        checked: schemas.publication,
        optional: false,
      },
      responses: {
        200: {
          description: "The bus accepted the publication.",
          json: named("Published", schemas.published),
        },
      },
      errors: [413, 429, ...BUS_ERRORS],
      async handle({ app, body, json, bytes }) {
        const input = readPublication({ app, body, json, bytes, start: 0 }, maxContentBytes);
        const position = await operations.publish(input);
        return { status: 200, json: describePublished(input.channel, position) };
      },
    }),
    route({
      method: "POST",
      path: "/v1/publish-many",
      id: "publishMany",
      summary: "Publish to several channels",
      description: "Answers 200 also where some failed: each result is a publication's or an error.",
      access: "key",
      body: {
        documented: named("Publications", schemas.publishMany),
        checked: schemas.publishManyFrame,
        optional: false,
      },
      responses: {
        200: { description: "One result each.", json: named("PublishedMany", schemas.publishedMany) },
      },
      errors: [],
      async handle({ app, body, bytes }) {
        const starts = publicationStarts(bytes);
        const publishOne = async (json: unknown, index: number) => {
          try {
            const item = check(schemas.publication, json, "body");
            const input = readPublication(
              { app, body: item, json, bytes, start: starts[index]! },
              maxContentBytes,
            );
            return describePublished(input.channel, await operations.publish(input));
          } catch (error) {
            onError(error);
            return { error: errorDetail(error) };
          }
        };
        return { status: 200, json: { results: await Promise.all(body.publications.map(publishOne)) } };
      },
    }),
  ];
}

function queryRoutes({ operations }: RoutesOptions): Route[] {
  return [
    route({
      method: "GET",
      path: "/v1/channels",
      id: "listChannels",
      summary: "List channels and their subscribers over all nodes",
      access: "key",
      query: schemas.channelsQuery,
      responses: { 200: { description: "By name.", json: named("ChannelList", schemas.channelList) } },
      errors: BUS_ERRORS,
      async handle({ app, query }) {
        return { status: 200, json: await operations.channels({ app, ...query }) };
      },
    }),
    route({
      method: "GET",
      path: "/v1/channels/{channel}",
      id: "getChannel",
      summary: "Count a channel's subscribers over all nodes",
      description: "A channel without subscribers is one with 0: channels need not be made first.",
      access: "key",
      params: schemas.channelParams,
      responses: { 200: { description: "The count.", json: named("Channel", schemas.channelDetail) } },
      errors: BUS_ERRORS,
      async handle({ app, params: { channel } }) {
        const { subscribers, missing } = await operations.channelSubscribers({ app, channel });
        return { status: 200, json: { channel, subscribers, missing } };
      },
    }),
    route({
      method: "GET",
      path: "/v1/users/{user}/connections",
      id: "listUserConnections",
      summary: "List a user's connections on all nodes",
      access: "key",
      params: schemas.userParams,
      responses: {
        200: {
          description: "The connections, an empty list where there are none.",
          json: named("ConnectionList", schemas.connectionList),
        },
      },
      errors: BUS_ERRORS,
      async handle({ app, params: { user } }) {
        return { status: 200, json: await operations.userConnections(app, user) };
      },
    }),
    route({
      method: "GET",
      path: "/v1/totals",
      id: "getTotals",
      summary: "Count nodes and connections",
      description: "Of all apps together: it takes a key of the app main.",
      access: "main",
      responses: { 200: { description: "Over all nodes.", json: named("Totals", schemas.totals) } },
      errors: BUS_ERRORS,
      async handle() {
        return { status: 200, json: await operations.totals() };
      },
    }),
  ];
}

function userRoutes({ operations }: RoutesOptions): Route[] {
  return [
    route({
      method: "POST",
      path: "/v1/users/{user}/disconnect",
      id: "disconnectUser",
      summary: "Close a user's connections on all nodes",
      description: "With close code 4502: clients do not reconnect.",
      access: "key",
      params: schemas.userParams,
      body: {
        documented: named("Disconnect", schemas.disconnect),
        checked: schemas.disconnect,
        optional: true,
      },
      responses: ACCEPTED,
      errors: BUS_ERRORS,
      async handle({ app, params: { user }, body: { reason } }) {
        const { missing } = await operations.disconnectUser(app, user, { reason });
        return { status: 202, json: { user, missing } };
      },
    }),
    route({
      method: "POST",
      path: "/v1/users/{user}/unsubscribe",
      id: "unsubscribeUser",
      summary: "Unsubscribe a user's connections from a channel on all nodes",
      access: "key",
      params: schemas.userParams,
      body: {
        documented: named("Unsubscribe", schemas.unsubscribe),
        checked: schemas.unsubscribe,
        optional: false,
      },
      responses: ACCEPTED,
      errors: BUS_ERRORS,
      async handle({ app, params: { user }, body: { channel } }) {
        const { missing } = await operations.unsubscribe(app, { user }, channel);
        return { status: 202, json: { user, missing } };
      },
    }),
    route({
      method: "POST",
      path: "/v1/users/{user}/permit",
      id: "permitUser",
      summary: "Change what a user's connections may do, on all nodes",
      description: "Applies to the connections that are open now, until their next token.",
      access: "key",
      params: schemas.userParams,
      body: { documented: named("Permit", schemas.permit), checked: schemas.permit, optional: false },
      responses: ACCEPTED,
      errors: BUS_ERRORS,
      async handle({ app, params: { user }, body: { channels, publish } }) {
        const { missing } = await operations.permit(app, { user }, { channels, publish });
        return { status: 202, json: { user, missing } };
      },
    }),
  ];
}

function nodeRoutes({ operations, openapi }: RoutesOptions): Route[] {
  const readiness = named("Readiness", schemas.readiness);
  const readinessRoute = (method: "GET" | "OPTIONS", path: string, id: string, summary: string): Route =>
    route({
      ...{ method, path, id, summary },
      access: "open",
      responses: {
        200: { description: "The node is ready.", json: readiness },
        503: { description: "The node is not ready, for these reasons.", json: readiness },
      },
      errors: [],
      handle() {
        const { ready, reasons } = operations.ready();
        return { status: ready ? 200 : 503, json: { ready, reasons } };
      },
    });
  return [
    route({
      method: "GET",
      path: "/healthz",
      id: "getHealth",
      summary: "Whether the process is alive",
      access: "open",
      responses: { 200: { description: "The process is alive.", json: named("Health", schemas.health) } },
      errors: [],
      handle: () => ({ status: 200, json: { status: "ok" } }),
    }),
    readinessRoute("GET", "/readyz", "getReadiness", "Whether this node should get clients"),
    // What load balancers ask where nobody told them what to: HAProxy's httpchk the one, others the other.
    readinessRoute("OPTIONS", "/", "checkReadiness", "As /readyz: HAProxy's default check"),
    readinessRoute("GET", "/", "getRoot", "As /readyz: other load balancers' default check"),
    route({
      method: "GET",
      path: "/metrics",
      id: "getMetrics",
      summary: "Metrics of this node, for Prometheus",
      description: "Of all apps together: where it takes a key, one of the app main.",
      access: "metrics",
      responses: { 200: { description: "Prometheus text format.", type: "text/plain" } },
      errors: [],
      async handle() {
        const { contentType, text } = await operations.metrics();
        return { status: 200, headers: { "content-type": contentType }, body: text };
      },
    }),
    route({
      method: "GET",
      path: "/openapi.json",
      id: "getOpenApi",
      summary: "This document",
      access: "key",
      responses: { 200: { description: "OpenAPI 3.1.", type: "application/json" } },
      errors: [],
      handle: () => ({
        status: 200,
        headers: { "content-type": "application/json; charset=utf-8" },
        body: openapi(),
      }),
    }),
  ];
}
