/** What other nodes and the server API ask of this node: commands that act on its connections, questions that it answers. */

import { setIdentity } from "./actions/authenticate.js";
import { revoke } from "./actions/unsubscribe.js";
import type { Connection } from "./connection.js";
import type { EdgeContext } from "./context.js";
import type { ControlAnswer, ControlCommand, ControlHandlers, ControlQuestion, Target } from "./control.js";

export function controlHandlers(edge: EdgeContext, ready: () => boolean): ControlHandlers {
  return {
    command: (command) => execute(edge, command),
    answer: (question) => answer(edge, ready, question),
  };
}

/** Closes a connection whose session another has taken. */
export function supersede({ hub, stats }: EdgeContext, connectionId: string): void {
  const connection = hub.connections.get(connectionId);
  if (connection === undefined) return;
  stats.superseded++;
  connection.close("superseded");
}

function targets({ hub }: EdgeContext, app: string, target: Target): readonly Connection[] {
  if (target.user !== undefined) return hub.users.connections(app, target.user);
  const connection = hub.connections.get(target.connection);
  return connection?.app.id === app ? [connection] : [];
}

function execute(edge: EdgeContext, command: ControlCommand): void {
  if (command.kind === "supersede") {
    supersede(edge, command.connection);
    return;
  }
  if (command.kind === "subscribers") {
    edge.hub.counts.told(command);
    return;
  }
  if (command.kind === "recount") {
    edge.hub.counts.changedAnywhere();
    return;
  }
  for (const connection of targets(edge, command.app, command.target)) {
    switch (command.kind) {
      case "disconnect":
        connection.close("disconnected", { message: command.reason });
        break;
      case "unsubscribe":
        revoke(edge, connection, command.channel, "application", "the application ended this subscription");
        break;
      case "permit":
        if (connection.identity === undefined) break;
        setIdentity(edge, connection, connection.app.authorizer.permit(connection.identity, command));
        if (!connection.isClosed) edge.registry.put(connection);
        break;
    }
  }
}

function answer(
  { hub, options, registry }: EdgeContext,
  ready: () => boolean,
  question: ControlQuestion,
): ControlAnswer | Promise<ControlAnswer> {
  switch (question.kind) {
    case "recorded":
      return Promise.resolve(registry.recorded()).then(() => ({ kind: "recorded" }));
    case "readiness":
      return { kind: "readiness", ready: ready(), upgradeRate: options.upgradeRate };
    case "channels":
      return {
        kind: "channels",
        counts: hub.channelCounts(question.app, question.prefix, question.limit),
      };
    case "subscribers":
      return { kind: "subscribers", counts: hub.subscriberCounts(question.app, question.channels) };
    case "connections": {
      const connections = hub.users.connections(question.app, question.user);
      return { kind: "connections", connections: connections.map((connection) => connection.record()) };
    }
  }
}
