/** What clients mostly do first, in each encoding as often as it is used. */

import { Packr } from "msgpackr";
import type { Conversation } from "../../core/protocol.js";
import { FRAMINGS, type StarlingFraming } from "./framing.js";

const CHANNEL = "warm-up";
/** What is done often is worth compiling best. */
const SUBSCRIPTIONS = 4;
const JSON_SHARE = 8;

const SUBSCRIBING = [
  ...Array.from({ length: SUBSCRIPTIONS - 1 }, () => [
    { action: "subscribe", id: 1, channel: CHANNEL },
    { action: "unsubscribe", id: 2, channel: CHANNEL },
  ]).flat(),
  { action: "subscribe", id: 3, channel: CHANNEL },
  { action: "ping", id: 4 },
];
const SEND = { action: "send", id: 5, channel: CHANNEL, content: { text: "hello" } };

const packr = new Packr({ useRecords: false });

function conversationIn({ codec }: StarlingFraming, sends: boolean): Conversation {
  const { subprotocol, binary } = codec;
  const commands = sends ? [...SUBSCRIBING, SEND] : SUBSCRIBING;
  return {
    ...{ path: "/", subprotocol, binary },
    frames: commands.map((command) => (binary ? packr.pack(command) : Buffer.from(JSON.stringify(command)))),
    // The welcome, a reply to each, and the message itself.
    answers: 1 + commands.length + (sends ? 1 : 0),
  };
}

/** One of each encoding sends: for thousands of senders a codec would keep what it knows of them. */
export const CONVERSATIONS: readonly Conversation[] = FRAMINGS.flatMap((framing) =>
  Array.from({ length: framing.binary ? 1 : JSON_SHARE }, (_, at) => conversationIn(framing, at === 0)),
);
