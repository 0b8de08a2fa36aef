import type { Heard, Protocol } from "./protocol.js";

// One id for all commands: replies are counted, not matched.
const text = (command: object): Buffer => Buffer.from(JSON.stringify(command));

export const starlingJson: Protocol = {
  name: "starling-json",
  path: "/",
  binary: false,
  subscribe: (channel) => text({ action: "subscribe", channel, id: 1 }),
  publish: (channel, content, acknowledged) =>
    text({ action: "send", channel, content, ...(acknowledged && { id: 1 }) }),
  authenticate: (token) => text({ action: "connect", token, id: 1 }),
  presence: (channel) => text({ action: "presence_stats", channel, id: 1 }),
  classify: (payload) => classifyType(payload.toString("latin1", 0, 40)),
};

/** `type` comes first in every frame of PROTOCOL.md that a server sends; peers that imitate it may put it later. */
export function classifyType(head: string): Heard {
  if (head.includes("reply")) return "reply";
  if (head.includes("welcome")) return "greeting";
  if (head.includes("error") || head.includes("closing")) return "error";
  return "other";
}
