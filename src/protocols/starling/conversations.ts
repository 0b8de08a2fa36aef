/** What a client mostly does first, in each encoding. */

import { Packr } from "msgpackr";
import type { Conversation } from "../../core/protocol.js";
import { FRAMINGS } from "./framing.js";

const CHANNEL = "warm-up";

const COMMANDS = [
  { action: "subscribe", id: 1, channel: CHANNEL },
  { action: "send", id: 2, channel: CHANNEL, content: { text: "hello" } },
  { action: "ping", id: 3 },
];
/** The welcome, a reply to each, and the message itself. */
const ANSWERS = COMMANDS.length + 2;

const packr = new Packr({ useRecords: false });

export const CONVERSATIONS: readonly Conversation[] = FRAMINGS.map(({ codec }) => ({
  path: "/",
  subprotocol: codec.subprotocol,
  binary: codec.binary,
  frames: COMMANDS.map((command) =>
    codec.binary ? packr.pack(command) : Buffer.from(JSON.stringify(command)),
  ),
  answers: ANSWERS,
}));
