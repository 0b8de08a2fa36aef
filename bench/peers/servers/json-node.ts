/** What the two JSON peers do with a command; they differ in how a channel's subscribers are kept and reached. */

import { errorFrame, messageFrame, replyFrame, type Command, type Message } from "./frames.js";
import type { JsonBus } from "./json-bus.js";

export interface JsonClient {
  readonly id: string;
  send(frame: string): void;
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  /** Nothing may be sent any more. */
  readonly closed: boolean;
}

export interface JsonNode {
  bus: JsonBus | undefined;
  /** To this node's subscribers. */
  deliver(channel: string, frame: string): void;
}

export const deliverTo =
  (node: JsonNode) =>
  (message: Message): void =>
    node.deliver(message.channel, messageFrame(message));

export function handleCommand(node: JsonNode, client: JsonClient, text: string): void {
  const { action, channel, content, id } = JSON.parse(text) as Command;
  switch (action) {
    case "subscribe":
      client.subscribe(channel);
      break;
    case "unsubscribe":
      client.unsubscribe(channel);
      break;
    case "send": {
      const message = { channel, content, from: { connection: client.id } };
      deliverTo(node)(message);
      const published = node.bus?.publish(message);
      if (published === undefined) break;
      published.then(
        () => {
          if (id !== undefined && !client.closed) client.send(replyFrame(id));
        },
        (error: unknown) => {
          if (!client.closed) client.send(errorFrame(String(error)));
        },
      );
      return;
    }
    default:
      client.send(errorFrame(`"${action}" is not known here`));
      return;
  }
  if (id !== undefined) client.send(action === "send" ? replyFrame(id) : replyFrame(id, channel));
}
