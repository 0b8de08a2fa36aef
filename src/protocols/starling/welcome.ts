/** What every connection hears first. */

import type { ProtocolConnection } from "../../core/protocol.js";
import type { EdgeContext } from "../../core/context.js";
import type { WelcomeMessage } from "./messages.js";

type NodeFields = Pick<WelcomeMessage, "node" | "heartbeat" | "limits">;

/** Of a node: one and the same object for all its connections, by which json-welcome.ts knows it. */
const nodeFields = new WeakMap<EdgeContext, NodeFields>();

export function welcome({ edge, app, id, sessionId, resumeToken }: ProtocolConnection): WelcomeMessage {
  const { node, heartbeat, limits } = nodeFieldsOf(edge);
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

function nodeFieldsOf(edge: EdgeContext): NodeFields {
  const known = nodeFields.get(edge);
  if (known !== undefined) return known;
  const { options } = edge;
  const { nodeId, heartbeatIntervalMs, heartbeatTimeoutMs, rate } = options;
  const made: NodeFields = {
    node: nodeId,
    heartbeat: { intervalMs: heartbeatIntervalMs, timeoutMs: heartbeatTimeoutMs },
    limits: {
      frameBytes: options.maxFrameBytes,
      channels: options.maxChannelsPerConnection,
      messagesPerSecond: rate.messagesPerSecond,
      bytesPerSecond: rate.bytesPerSecond,
    },
  };
  nodeFields.set(edge, made);
  return made;
}
