/** What every connection hears first. */

import type { ProtocolConnection } from "../../core/protocol.js";
import type { EdgeContext } from "../../core/context.js";
import type { WelcomeMessage } from "./messages.js";

type Terms = Pick<WelcomeMessage, "node" | "heartbeat" | "limits">;

/** Of a node: one and the same object for all its connections, by which json-welcome.ts knows it. */
const terms = new WeakMap<EdgeContext, Terms>();

export function welcome({ edge, app, id, sessionId, resumeToken }: ProtocolConnection): WelcomeMessage {
  const { node, heartbeat, limits } = termsOf(edge);
  return {
    type: "welcome",
    node,
    connection: id,
    session: sessionId,
    resume: resumeToken,
    heartbeat,
    limits,
    authenticate: app.authorizer.required,
  };
}

function termsOf(edge: EdgeContext): Terms {
  const known = terms.get(edge);
  if (known !== undefined) return known;
  const { options } = edge;
  const { nodeId, heartbeatIntervalMs, heartbeatTimeoutMs, rate } = options;
  const made: Terms = {
    node: nodeId,
    heartbeat: { intervalMs: heartbeatIntervalMs, timeoutMs: heartbeatTimeoutMs },
    limits: {
      frameBytes: options.maxFrameBytes,
      channels: options.maxChannelsPerConnection,
      messagesPerSecond: rate.messagesPerSecond,
      bytesPerSecond: rate.bytesPerSecond,
    },
  };
  terms.set(edge, made);
  return made;
}
