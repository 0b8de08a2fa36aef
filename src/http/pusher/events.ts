/** Events that back ends publish by Pusher's API. */

import { StarlingError, quote } from "../../core/errors.js";
import type { HttpResponse } from "../../core/transport.js";
import { Encoding } from "../../encoding/payload.js";
import { jsonResponse } from "../message.js";
import { decodeBody } from "../request.js";
import { isSocketId } from "../../protocols/pusher/channels.js";
import { isReservedEvent } from "../../protocols/pusher/messages.js";
import { countsOf, readInfo, type Attribute } from "./channels.js";
import { fieldsOf, list, optionalText, shown, text, type Fields } from "./fields.js";
import { checkedChannel } from "./names.js";
import type { PusherCall } from "./operations.js";

const COUNTS: readonly Attribute[] = ["user_count", "subscription_count"];

interface Channel {
  /** As it was given, and as the node calls it. */
  readonly name: string;
  readonly own: string;
}

interface Event {
  readonly name: string;
  readonly data: Uint8Array;
  readonly channels: readonly Channel[];
  readonly exclude: string | undefined;
  readonly info: ReadonlySet<Attribute>;
}

/** What SDKs compare with, to the letter. No more headers than it takes: each is a call into uWebSockets.js. */
export const DONE: HttpResponse = {
  status: 200,
  headers: { "content-type": "application/json" },
  body: Buffer.from("{}"),
};

export async function publishEvent(call: PusherCall): Promise<HttpResponse> {
  const { body, query } = call;
  const fields = fieldsOf(decodeBody(body, true), "", {
    // In a query the items of a list are joined by commas.
    get: (name) => (name === "channels" ? query.get(name)?.split(",") : query.get(name)),
  });
  const event = readEvent(fields, call, readChannels(fields, call));
  await publishAll(call, [event]);
  if (event.info.size === 0) return DONE;
  const counts = await countsOf(call, event.channels, event.info);
  return jsonResponse(200, { channels: Object.fromEntries(counts) });
}

/** All of it is checked before any of it goes. */
export async function publishBatch(call: PusherCall): Promise<HttpResponse> {
  const items = list(
    fieldsOf(decodeBody(call.body, false), ""),
    "batch",
    call.settings.maxBatchEvents,
    "pusher.maxBatchEvents",
  );
  const events = items.map((item, index) => {
    try {
      const fields = fieldsOf(item, `batch[${index}].`);
      const name = text(fields, "channel");
      return readEvent(fields, call, [{ name, own: checkedChannel(name, call.settings) }]);
    } catch (error) {
      throw namingItem(error, `batch[${index}]`);
    }
  });
  await publishAll(call, events);
  const asked = new Set(events.flatMap(({ info }) => [...info]));
  if (asked.size === 0) return DONE;
  const channels = new Map(
    events.filter(({ info }) => info.size > 0).map(({ channels: [channel] }) => [channel!.name, channel!]),
  );
  const counts = await countsOf(call, [...channels.values()], asked);
  const batch = events.map(({ channels: [channel], info }) => {
    const all = Object.entries(counts.get(channel!.name) ?? {});
    return Object.fromEntries(all.filter(([attribute]) => info.has(attribute as Attribute)));
  });
  return jsonResponse(200, { batch });
}

/** What is wrong with a channel or `info` does not say where it stands. */
function namingItem(error: unknown, item: string): unknown {
  if (!(error instanceof StarlingError) || error.message.includes(item)) return error;
  return new StarlingError(error.code, `${item}: ${error.message}`, { cause: error });
}

function readChannels(fields: Fields, { settings }: PusherCall): readonly Channel[] {
  const one = optionalText(fields, "channel");
  const several = fields.get("channels");
  if (one !== undefined && several !== undefined)
    throw new StarlingError("bad_request", 'give "channel" or "channels", not both');
  if (one !== undefined) return [{ name: one, own: checkedChannel(one, settings) }];
  const names = new Set(list(fields, "channels", settings.maxEventChannels, "pusher.maxEventChannels"));
  const channels: Channel[] = [];
  for (const name of names) {
    if (typeof name !== "string")
      throw new StarlingError("bad_request", `"channels" must be a list of strings, not of ${shown(name)}`);
    channels.push({ name, own: checkedChannel(name, settings) });
  }
  return channels;
}

function readEvent(fields: Fields, { settings }: PusherCall, channels: readonly Channel[]): Event {
  const { maxEventNameBytes, maxDataBytes } = settings;
  const name = text(fields, "name");
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes === 0 || nameBytes > maxEventNameBytes) {
    throw new StarlingError(
      "bad_request",
      `"${fields.at}name" has ${nameBytes} bytes, 1 to ${maxEventNameBytes} are allowed (pusher.maxEventNameBytes)`,
    );
  }
  if (isReservedEvent(name)) {
    throw new StarlingError(
      "bad_request",
      `"${fields.at}name" is ${quote(name)}: names that begin with pusher: and pusher_internal: are the server's own`,
    );
  }
  const data = Buffer.from(text(fields, "data"));
  if (data.length > maxDataBytes) {
    throw new StarlingError(
      "too_large",
      `"${fields.at}data" has ${data.length} bytes, at most ${maxDataBytes} are allowed (pusher.maxDataBytes)`,
    );
  }
  const exclude = optionalText(fields, "socket_id");
  if (exclude !== undefined && !isSocketId(exclude)) {
    throw new StarlingError(
      "bad_request",
      `"${fields.at}socket_id" is ${quote(exclude)}: it must be two numbers with a dot between, as in 123.456`,
    );
  }
  return { name, data, channels, exclude, info: readInfo(optionalText(fields, "info"), COUNTS) };
}

/**
 * All in this turn, so that they are in their order in each channel. Resolves once the bus has all of them.
 * @throws StarlingError unavailable: nothing was sent; outcome_unknown: some of it may have been
 */
async function publishAll({ operations, app }: PusherCall, events: readonly Event[]): Promise<void> {
  const sent: Promise<unknown>[] = [];
  for (const { name, data, channels, exclude } of events) {
    for (const { own } of channels) {
      sent.push(
        operations.publish({
          app: app.id,
          channel: own,
          payload: { bytes: data, encoding: Encoding.text },
          event: name,
          tags: undefined,
          exclude,
          excludeWithHistory: true,
        }),
      );
    }
  }
  if (sent.length === 1) {
    await sent[0];
    return;
  }
  const outcomes = await Promise.allSettled(sent);
  const failures = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [outcome.reason as unknown] : [],
  );
  if (failures.length === 0) return;
  const [first] = failures;
  if (failures.length === sent.length || !(first instanceof StarlingError)) throw first;
  throw new StarlingError(
    "outcome_unknown",
    `${failures.length} of ${sent.length} publications failed, the first because ${first.message}`,
    { cause: first },
  );
}
