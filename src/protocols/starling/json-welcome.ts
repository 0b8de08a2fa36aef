/** The first frame of every JSON client: nodes take many at a time, and those of a node are nearly alike. */

import type { FrameWriter } from "../../encoding/frame-writer.js";
import type { WelcomeMessage } from "./messages.js";
import { ownBytes } from "../../encoding/own-bytes.js";

/** The last welcome, and what stands around that which is its connection's own. */
let lastWelcome: WelcomeMessage | undefined;
let welcomeHead = ownBytes("");
let welcomeTail = ownBytes("");
const SESSION_KEY = Buffer.from('","session":"');
const RESUME_KEY = Buffer.from('","resume":"');

/** Those of a node differ in three texts, of which none has anything that JSON escapes. */
export function writeWelcome(writer: FrameWriter, message: WelcomeMessage): void {
  const { type, node, connection, session, resume, heartbeat, limits, authenticate } = message;
  if (
    lastWelcome?.limits !== limits ||
    lastWelcome.heartbeat !== heartbeat ||
    lastWelcome.node !== node ||
    lastWelcome.authenticate !== authenticate
  ) {
    lastWelcome = message;
    welcomeHead = ownBytes(`${JSON.stringify({ type, node }).slice(0, -1)},"connection":"`);
    welcomeTail = ownBytes(`",${JSON.stringify({ heartbeat, limits, authenticate }).slice(1)}`);
  }
  writer.bytes(welcomeHead);
  writer.ascii(connection);
  writer.bytes(SESSION_KEY);
  writer.ascii(session);
  writer.bytes(RESUME_KEY);
  writer.ascii(resume);
  writer.bytes(welcomeTail);
}
