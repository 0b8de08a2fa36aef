/** What clients mostly do first, in each encoding as often as it is used. */

import { Packr } from "msgpackr";
import type { Conversation } from "../../core/protocol.js";
import { FRAMINGS, type StarlingFraming } from "./framing.js";

const CHANNEL = "warm-up";
/** What is done often is worth compiling best. */
const SUBSCRIPTIONS = 4;
const JSON_SHARE = 8;

const COMMANDS = [
  ...Array.from({ length: SUBSCRIPTIONS - 1 }, () => [
    { action: "subscribe", id: 1, channel: CHANNEL },
    { action: "unsubscribe", id: 2, channel: CHANNEL },
  ]).flat(),
  { action: "subscribe", id: 3, channel: CHANNEL },
  { action: "send", id: 4, channel: CHANNEL, content: { text: "hello" } },
  { action: "ping", id: 5 },
];
/** The welcome, a reply to each, and the message itself. */
const ANSWERS = COMMANDS.length + 2;

const packr = new Packr({ useRecords: false });

function conversationIn({ codec }: StarlingFraming): Conversation {
  const { subprotocol, binary } = codec;
  const frames = COMMANDS.map((command) =>
    binary ? packr.pack(command) : Buffer.from(JSON.stringify(command)),
  );
  return { path: "/", subprotocol, binary, frames, answers: ANSWERS };
}

export const CONVERSATIONS: readonly Conversation[] = FRAMINGS.flatMap((framing) => {
  const conversation = conversationIn(framing);
  return Array.from({ length: conversation.binary ? 1 : JSON_SHARE }, () => conversation);
});
