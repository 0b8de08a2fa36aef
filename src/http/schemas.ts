/**
 * What the API takes and gives. The check and the OpenAPI document are both made
 * from these, so they cannot differ.
 */

import { z } from "zod";
import { CHANNEL_NAME_MAX, isChannelName } from "../core/channel-name.js";
import {
  CLOSE_MESSAGE_BYTES_MAX,
  EPOCH_CHARACTERS_MAX,
  EVENT_CHARACTERS_MAX,
  MEMBER_INFO_BYTES_MAX,
  MESSAGE_ID_CHARACTERS_MAX,
  READ_LIMIT_DEFAULT,
  READ_LIMIT_MAX,
  TAGS_MAX,
  TAG_CHARACTERS_MAX,
} from "../core/limits.js";
import { loneSurrogateAt } from "../encoding/surrogates.js";
import { USER_ID_MAX, USER_ID_PATTERN, userIdProblem } from "../core/user-id.js";
import { API_ERROR_CODES } from "./problem.js";

export const PUBLICATIONS_MAX = 1000;
export const CHANNELS_LIMIT_MAX = 1000;
const CHANNELS_LIMIT_DEFAULT = 100;
const CONNECTION_CHARACTERS_MAX = 128;
const PATTERNS_MAX = 1000;

/** Text that every encoding carries unchanged. */
const wellFormed = z.string().refine((text) => loneSurrogateAt(text) === -1, {
  error: ({ input }) => `has a lone surrogate at ${loneSurrogateAt(input as string)}: it has no UTF-8`,
});

/** For the document: isChannelName is what decides. */
const CHANNEL_NAME_PATTERN = `^(?!#user:)[!#-[\\]-~]+$|^#user:${USER_ID_PATTERN}$`;

/** check.ts tells the error of checkChannelName. */
export const channelName = z
  .string()
  .refine(isChannelName)
  .meta({
    description:
      "Channel name: printable ASCII without space, quote and backslash, or `#user:` before any user id.",
    examples: ["room"],
    minLength: 1,
    maxLength: CHANNEL_NAME_MAX,
    pattern: CHANNEL_NAME_PATTERN,
  });

export const userId = z
  .string()
  .refine((id) => userIdProblem(id) === undefined, { error: ({ input }) => userIdProblem(input as string) })
  .meta({
    description: "User id: the `sub` claim of the user's tokens. Percent-encoded in paths.",
    examples: ["42"],
    minLength: 1,
    maxLength: USER_ID_MAX,
    pattern: `^${USER_ID_PATTERN}$`,
  });

const pattern = z
  .string()
  .min(1)
  .max(CHANNEL_NAME_MAX)
  .regex(/^[!$-[\]-~][!#-[\]-~]*$/, {
    error:
      "must be a channel pattern: printable ASCII without space, quote and backslash, not starting with #",
  })
  .meta({ description: "Channel pattern: `*` stands for any run of characters.", examples: ["chat:*"] });

export const publication = z
  .strictObject({
    channel: channelName,
    content: z.unknown().optional().meta({ description: "Any JSON value, nesting at most 64 deep." }),
    contentBase64: z
      .base64({ error: "must be padded base64 (A-Z a-z 0-9 + /)" })
      .optional()
      .meta({ description: "Bytes, for binary content." }),
    event: wellFormed
      .max(EVENT_CHARACTERS_MAX)
      .optional()
      .meta({ description: "An event name, delivered unchanged." }),
    tags: z
      .record(wellFormed.max(TAG_CHARACTERS_MAX), wellFormed.max(TAG_CHARACTERS_MAX))
      .refine((tags) => Object.keys(tags).length <= TAGS_MAX, { error: `has more than ${TAGS_MAX} entries` })
      .optional()
      .meta({ maxProperties: TAGS_MAX, description: "Strings that travel beside the content." }),
    exclude: wellFormed.min(1).max(CONNECTION_CHARACTERS_MAX).optional().meta({
      description: "Id of a connection that is not to receive it. Refused where the channel keeps history.",
    }),
    messageId: wellFormed.min(1).max(MESSAGE_ID_CHARACTERS_MAX).optional().meta({
      description:
        "Where the channel keeps history, a repetition with the same id within the window is made once and answered with the first's position.",
    }),
  })
  .refine((body) => (body.content === undefined) !== (body.contentBase64 === undefined), {
    error: 'give either "content" or "contentBase64"',
  })
  .meta({ oneOf: [{ required: ["content"] }, { required: ["contentBase64"] }] });

export const publishMany = z.strictObject({
  publications: z.array(publication).min(1).max(PUBLICATIONS_MAX).meta({
    description: "Each succeeds or fails by itself; those of one channel keep their order.",
  }),
});

/** The same with items that are checked one by one, as a bad one must not fail the others. */
export const publishManyFrame = publishMany.extend({
  publications: z.array(z.unknown()).min(1).max(PUBLICATIONS_MAX),
});

export const disconnect = z.strictObject({
  reason: wellFormed
    .refine((reason) => Buffer.byteLength(reason) <= CLOSE_MESSAGE_BYTES_MAX, {
      error: `has more than ${CLOSE_MESSAGE_BYTES_MAX} bytes, which is what a close frame carries`,
    })
    .optional()
    .meta({
      maxLength: CLOSE_MESSAGE_BYTES_MAX,
      description: "What the client is told; at most 123 bytes as UTF-8.",
    }),
});

export const unsubscribe = z.strictObject({ channel: channelName });

export const permit = z
  .strictObject({
    channels: z
      .array(pattern)
      .max(PATTERNS_MAX)
      .optional()
      .meta({ description: "Channels that may be subscribed to from now on; unchanged if absent." }),
    publish: z
      .array(pattern)
      .max(PATTERNS_MAX)
      .optional()
      .meta({ description: "Channels that may be published to from now on; unchanged if absent." }),
  })
  .refine((body) => body.channels !== undefined || body.publish !== undefined, {
    error: 'give "channels", "publish" or both',
  })
  .meta({ minProperties: 1 });

export const channelParams = z.strictObject({ channel: channelName });
export const userParams = z.strictObject({ user: userId });

export const channelsQuery = z.strictObject({
  prefix: z
    .string()
    .max(CHANNEL_NAME_MAX)
    .default("")
    .meta({ description: "Only channels that start with this." }),
  limit: z
    .int()
    .min(1)
    .max(CHANNELS_LIMIT_MAX)
    .default(CHANNELS_LIMIT_DEFAULT)
    .meta({ description: "At most this many channels." }),
});

export const historyQuery = z
  .strictObject({
    since_offset: z.int().min(0).optional().meta({
      description: "With since_epoch, a position: what follows it, or in reverse what stands before it.",
    }),
    since_epoch: z.string().min(1).max(EPOCH_CHARACTERS_MAX).optional().meta({
      description: "If it is not the channel's epoch, the result has no publications.",
    }),
    limit: z
      .int()
      .min(0)
      .max(READ_LIMIT_MAX)
      .default(READ_LIMIT_DEFAULT)
      .meta({ description: "At most this many publications; 0 asks for the position only." }),
    reverse: z.boolean().default(false).meta({ description: "Newest first." }),
  })
  .refine((query) => (query.since_offset === undefined) === (query.since_epoch === undefined), {
    error: 'give "since_offset" and "since_epoch" together: they are one position',
  });

export const presenceQuery = z.strictObject({
  limit: z
    .int()
    .min(0)
    .max(READ_LIMIT_MAX)
    .default(READ_LIMIT_DEFAULT)
    .meta({ description: "At most this many members; the counts are of all." }),
});

const missing = z.array(z.string()).meta({
  description: "Ids of nodes that did not answer in time: what they hold is not in the result.",
});
const count = z.int().min(0);

export const published = z.strictObject({
  channel: z.string(),
  offset: z.int().min(1).optional().meta({ description: "Only where the channel keeps history." }),
  epoch: z.string().optional(),
});

const position = {
  offset: z.int().min(0).meta({ description: "From 1, without gaps; 0: nothing was published yet." }),
  epoch: z.string().meta({ description: "Changes when the channel may have lost what it once had." }),
};

export const history = z.strictObject({
  channel: z.string(),
  publications: z.array(
    z.strictObject({
      content: z.unknown().optional().meta({ description: "Absent where it is binary." }),
      contentBase64: z.base64().optional(),
      ...position,
      from: z
        .strictObject({ connection: z.string(), user: z.string().optional() })
        .optional()
        .meta({ description: "Absent where the server published it." }),
      event: z.string().optional(),
      tags: z.record(z.string(), z.string()).optional(),
    }),
  ),
  ...position,
  more: z.boolean().meta({ description: "Whether more publications follow the last one." }),
});

export const presenceStats = z.strictObject({
  channel: z.string(),
  connections: count,
  users: count.meta({ description: "An anonymous connection counts as one." }),
});

export const presence = presenceStats.extend({
  members: z.array(
    z.strictObject({
      connection: z.string(),
      user: z.string().optional().meta({ description: "Absent: anonymous." }),
      info: z
        .unknown()
        .optional()
        .meta({
          description: `Any JSON value: what it shows of itself, as the claim \`info\` of its token says; at most ${MEMBER_INFO_BYTES_MAX} bytes as compact JSON. Absent: nothing.`,
        }),
    }),
  ),
});

export const errorBody = z.strictObject({
  error: z.strictObject({
    code: z.enum(API_ERROR_CODES),
    message: z.string(),
    temporary: z.boolean().meta({ description: "Whether the same request may succeed later." }),
  }),
});

export const publishedMany = z.strictObject({
  results: z.array(z.union([published, errorBody])).meta({ description: "One per publication, in order." }),
});

export const channelCount = z.strictObject({ channel: z.string(), subscribers: count });
export const channelList = z.strictObject({ channels: z.array(channelCount), missing });
export const channelDetail = channelCount.extend({ missing });

export const connectionList = z.strictObject({
  connections: z.array(
    z.strictObject({
      node: z.string(),
      connection: z.string(),
      userId: z.string().nullable(),
      channels: z.array(z.string()),
      connectedAt: z.number().meta({ description: "Unix seconds." }),
      lastActivity: z.number().meta({ description: "Unix seconds, at most a minute old." }),
    }),
  ),
  missing,
});

/** A command that every node was told. */
export const accepted = z.strictObject({
  user: z.string(),
  missing: z.array(z.string()).meta({
    description:
      "Ids of nodes that did not confirm in time that the command was run and recorded. If empty, a resumed session does not get back what the command revoked.",
  }),
});

export const totals = z.strictObject({ nodes: count, connections: count });
export const health = z.strictObject({ status: z.literal("ok") });
export const readiness = z.strictObject({ ready: z.boolean(), reasons: z.array(z.string()) });
