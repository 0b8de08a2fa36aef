/** The option `pusher`: what an app's Pusher clients and back ends may do. */

import { z } from "zod";
import { CHANNEL_NAME_MAX } from "../core/channel-name.js";
import { EVENT_CHARACTERS_MAX, MEMBER_INFO_BYTES_MAX } from "../core/limits.js";
import { didYouMean } from "../core/suggest.js";
import { PRESENCE_MEMBERS_MOST, PUSHER_DEFAULTS, type PusherSettings } from "../protocols/pusher/settings.js";
import { flag, integer, isObject, jsonOrText, whereBroken, type Kind } from "./kinds.js";
import type { Field } from "./option.js";

type Name = keyof PusherSettings;
type Declared = Pick<Field, "kind" | "unit" | "description">;

const declared = {
  clientEvents: {
    kind: flag(),
    description: "whether clients may send events (`client-...`) to private and presence channels",
  },
  clientEventsPerSecond: {
    kind: integer(1, 10_000_000),
    unit: "events/s",
    description: "client events that one connection may send",
  },
  subscriptionCount: {
    kind: flag(),
    description: "tell subscribers how many there are, but for presence channels",
  },
  authorizeWithinMs: {
    kind: integer(0, 600_000),
    unit: "ms",
    description:
      "time in which a client has to sign in, or to subscribe to a channel by a signature, before it is closed; 0: it need not",
  },
  maxChannelNameBytes: {
    kind: integer(1, CHANNEL_NAME_MAX),
    unit: "bytes",
    description: "longest name of a channel",
  },
  maxEventNameBytes: {
    kind: integer(1, EVENT_CHARACTERS_MAX),
    unit: "bytes",
    description: "longest name of an event",
  },
  maxDataBytes: {
    kind: integer(1, 16 * 1024 * 1024),
    unit: "bytes",
    description: "largest data of an event, from a client or a back end; `maxFrameBytes` has to be 1024 more",
  },
  maxEventChannels: {
    kind: integer(1, 1000),
    unit: "channels",
    description: "most channels that one event of a back end may go to",
  },
  maxBatchEvents: {
    kind: integer(1, 1000),
    unit: "events",
    description: "most events in one batch of a back end",
  },
  maxPresenceMembers: {
    kind: integer(1, PRESENCE_MEMBERS_MOST),
    unit: "users",
    description: "most users in a presence channel",
  },
  maxPresenceMemberBytes: {
    kind: integer(1, MEMBER_INFO_BYTES_MAX),
    unit: "bytes",
    description: "largest user_id and user_info of a member together, as JSON",
  },
} satisfies Record<Name, Declared>;

export const pusherDefaults = PUSHER_DEFAULTS;
export const pusherFieldNames = Object.keys(declared) as Name[];
export const pusherFieldOf = (name: Name): Field => ({
  ...(declared[name] as Declared),
  default: PUSHER_DEFAULTS[name],
});

const ALLOWED = "an object with the settings of Pusher, as JSON in a flag or variable";

const schema = z.unknown().transform((given, context): PusherSettings => {
  const problem = (path: string[], message: string): void => {
    context.addIssue({ code: "custom", path, message });
  };
  if (!isObject(given)) {
    problem([], typeof given === "string" ? `${ALLOWED}${whereBroken(given)}` : ALLOWED);
    return z.NEVER;
  }
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(declared, key)) {
      const hint = didYouMean(key, pusherFieldNames, `settings are ${pusherFieldNames.join(", ")}`);
      problem([key], `there is no such setting of Pusher: ${hint}`);
      continue;
    }
    const { kind } = pusherFieldOf(key as Name);
    if (!kind.schema.safeParse(value).success) problem([key], kind.allowed);
  }
  return { ...PUSHER_DEFAULTS, ...given };
});

export const pusher: Kind<typeof schema> = {
  schema,
  allowed: `${ALLOWED}; the settings are listed below`,
  placeholder: "<json>",
  fromText: jsonOrText,
};

/** What is no setting may be a key's secret in the wrong place. */
export function isSecretOfPusher([name]: readonly PropertyKey[]): boolean {
  return name === undefined || !Object.hasOwn(declared, name);
}
