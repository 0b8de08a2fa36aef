import type { Heard, Protocol } from "./protocol.js";

/**
 * Replies are told apart by what they answer, not matched. Every publication is answered, so one that asks for no
 * acknowledgement has an id of its own, whose replies are not counted.
 */
const ID = { command: 1, acknowledged: 2, unacknowledged: 3 };
const PING_BYTES = 2;
const HEAD_BYTES = 64;

const text = (command: object): Buffer => Buffer.from(JSON.stringify(command));

export const centrifugo: Protocol = {
  name: "centrifugo",
  path: "/connection/websocket",
  binary: false,
  lines: true,
  pong: Buffer.from("{}"),
  wantsPong: (ready) => ready.includes('"pong":true'),
  open: (token) => text({ id: ID.command, connect: token === undefined ? {} : { token } }),
  subscribe: (channel) => text({ id: ID.command, subscribe: { channel } }),
  publish: (channel, content, acknowledged) =>
    text({
      id: acknowledged ? ID.acknowledged : ID.unacknowledged,
      publish: { channel, data: content },
    }),
  presence: (channel) => text({ id: ID.command, presence_stats: { channel } }),
  classify(payload): Heard {
    if (payload.length === PING_BYTES) return "ping";
    const head = payload.toString("latin1", 0, HEAD_BYTES);
    if (head.startsWith('{"push"')) return "other";
    if (head.includes('"error":')) return "error";
    if (head.includes('"connect":')) return "ready";
    return head.includes(`"id":${ID.unacknowledged},`) ? "other" : "reply";
  },
};
