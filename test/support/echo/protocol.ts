/**
 * The protocol of docs/protocols.md: as little as a node can speak. `room` subscribes, `-room` unsubscribes, `room text`
 * publishes, `room -text` to the others, `?` asks for a sign of life. A second line proves a right: `key:signature` of the
 * channel's name, which is checked here, or what the app's authorizer knows.
 */

import { createHmac } from "node:crypto";
import { publish } from "../../../src/core/actions/publish.js";
import { subscribe } from "../../../src/core/actions/subscribe.js";
import { unsubscribe } from "../../../src/core/actions/unsubscribe.js";
import type { App } from "../../../src/core/app.js";
import { StarlingError } from "../../../src/core/errors.js";
import { Grant } from "../../../src/core/grant.js";
import type { Framing } from "../../../src/core/framing.js";
import type { Protocol, ProtocolConnection } from "../../../src/core/protocol.js";
import { Encoding, type Payload } from "../../../src/encoding/payload.js";
import { msgpackToJson } from "../../../src/encoding/transcode.js";

const framing: Framing = {
  name: "text",
  topicPrefix: "echo",
  binary: false,
  positions: false,
  tellsUserOfItself: true,
  head: (channel) => new TextEncoder().encode(`${channel} `),
  publication: (head, { payload }) => Buffer.concat([head, textOf(payload)]),
  notice: () => undefined,
};

/** Frames are text, which MessagePack and binary content is not. */
function textOf({ bytes, encoding }: Payload): Uint8Array {
  if (encoding === Encoding.msgpack) return Buffer.from(msgpackToJson(bytes));
  return encoding === Encoding.binary ? Buffer.from(Buffer.from(bytes).toString("base64")) : bytes;
}

/** Valid or not is known at once: then the right is given out here. What else was brought is the authorizer's to check. */
function proofOf({ keys }: App, channel: string, brought: string | undefined): unknown {
  const [name, signature] = brought?.split(":") ?? [];
  const pair = keys.find(({ key }) => key === name);
  if (pair === undefined) return brought;
  if (signature === sign(pair.secret, channel)) return new Grant();
  throw new StarlingError("forbidden", `the signature is not that of channel ${channel}`);
}

/** A protocol that people use compares in constant time. */
export function sign(secret: string, channel: string): string {
  return createHmac("sha256", secret).update(channel).digest("hex");
}

function say(connection: ProtocolConnection, text: string): void {
  if (!connection.isClosed) connection.send(Buffer.from(text));
}

function take(connection: ProtocolConnection, frame: string): Promise<void> | undefined {
  const [line = "", brought] = frame.split(/\n(.*)/s, 2);
  const [channel = "", text] = line.split(/ (.*)/s, 2);
  const { edge, app } = connection;
  if (text !== undefined) {
    const content = { bytes: Buffer.from(text), encoding: Encoding.text };
    const plain = { event: undefined, tags: undefined, echo: !text.startsWith("-"), messageId: undefined };
    const proof = proofOf(app, channel, brought);
    return publish(edge, connection, channel, { content, ...plain }, undefined, proof);
  }
  // Who is gone publishes what it sent before, and nothing else.
  if (connection.isClosed) return undefined;
  if (channel.startsWith("-")) {
    unsubscribe(edge, connection, channel.slice(1));
    say(connection, channel);
    return undefined;
  }
  const joined = (): void => say(connection, `+${channel}`);
  return subscribe(edge, connection, channel, { joined, proof: proofOf(app, channel, brought) });
}

function answerPing(connection: ProtocolConnection, bytes: Uint8Array): boolean {
  const asks = bytes.length === 1 && bytes[0] === 0x3f;
  if (asks) say(connection, ".");
  return asks;
}

export const echoProtocol: Protocol = {
  name: "echo",
  framings: [framing],
  keepsSessions: false,
  obeysRetryAfter: false,
  admit: ({ path }, { main }) =>
    path === "/echo" ? { app: main, framing, subprotocol: undefined, proof: undefined } : undefined,
  opened: () => undefined,
  frame(connection, bytes) {
    if (answerPing(connection, bytes)) return undefined;
    return take(connection, Buffer.from(bytes).toString());
  },
  answerPing,
  refOf: () => undefined,
  published(connection, _ref, failure) {
    if (failure !== undefined) connection.fail(failure, undefined);
  },
  notify(connection, notice) {
    if (notice.kind === "error") say(connection, `!${notice.error.code}`);
    if (notice.kind === "revoked") say(connection, `-${notice.channel} ${notice.reason}`);
  },
  closeCode: (reason) => (reason === "slow_reader" ? 4001 : 1001),
  peerClosed: () => "away",
  beat: (connection) => connection.ping(),
};
