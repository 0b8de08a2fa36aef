/** The protocol of docs/protocols.md: as little as a node can speak. `room` subscribes, `room text` publishes, `room -text` to the others. */

import { publish } from "../../../src/core/actions/publish.js";
import { subscribe } from "../../../src/core/actions/subscribe.js";
import type { Framing } from "../../../src/core/framing.js";
import type { Protocol } from "../../../src/core/protocol.js";
import { Encoding } from "../../../src/encoding/payload.js";

const framing: Framing = {
  name: "text",
  topicPrefix: "echo",
  binary: false,
  positions: false,
  head: (channel) => new TextEncoder().encode(`${channel} `),
  publication: (head, { payload }) => Buffer.concat([head, payload.bytes]),
  notice: () => undefined,
};

export const echoProtocol: Protocol = {
  name: "echo",
  framings: [framing],
  keepsSessions: false,
  admit: ({ path }, { main }) =>
    path === "/echo" ? { app: main, framing, subprotocol: undefined, proof: undefined } : undefined,
  opened: () => undefined,
  frame(connection, bytes) {
    const [channel = "", text] = Buffer.from(bytes).toString().split(/ (.*)/s, 2);
    if (text === undefined) {
      const joined = (): void => connection.send(Buffer.from(`+${channel}`));
      return subscribe(connection.edge, connection, channel, undefined, joined);
    }
    const content = { bytes: Buffer.from(text), encoding: Encoding.text };
    const plain = { event: undefined, tags: undefined, echo: !text.startsWith("-"), messageId: undefined };
    publish(connection.edge, connection, channel, { content, ...plain }, undefined);
    return undefined;
  },
  refOf: () => undefined,
  published(connection, _ref, failure) {
    if (failure !== undefined) connection.fail(failure, undefined);
  },
  notify(connection, notice) {
    if (notice.kind === "error") connection.send(Buffer.from(`!${notice.error.code}`));
  },
  closeCode: (reason) => (reason === "slow_reader" ? 4001 : 1001),
  peerClosed: () => "away",
  beat: (connection) => connection.ping(),
};
