/**
 * Turns `{"action":"send","channel":"c","content":...}` into the frame that subscribers get by moving its bytes:
 * what no server can do with less work.
 */

const COMMAND_HEAD = Buffer.from('{"action":"send","channel":"');
/** From here on the command reads as the message does. */
const SHARED_AT = '{"action":"send",'.length;
const MESSAGE_HEAD = Buffer.from('{"type":"message",');
const ID = ',"id":';
/** Ids are integers, as the generator's are. */
const ID_BYTES_MAX = 24;
const QUOTE = 0x22;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

/** What `readSend` found in the last command. */
export interface SendCommand {
  channel: string;
  /** The id as it was written; undefined: no reply is wanted. */
  id: string | undefined;
  /** The frame without the part that names the sender, valid until the next command. */
  bytes: number;
}

const found: SendCommand = { channel: "", id: undefined, bytes: 0 };
let frame = Buffer.allocUnsafeSlow(65_536);
MESSAGE_HEAD.copy(frame);

/** @returns undefined unless the frame is a send command written as the generator writes it */
export function readSend(command: Buffer): Readonly<SendCommand> | undefined {
  for (let at = 0; at < COMMAND_HEAD.length; at++) if (command[at] !== COMMAND_HEAD[at]) return undefined;
  let channelEnd = COMMAND_HEAD.length;
  while (channelEnd < command.length && command[channelEnd] !== QUOTE) channelEnd++;
  let end = command.length - 1;
  found.id = undefined;
  const last = command[end - 1]!;
  // Behind a digit `,"id":` can only be the field: within a string its quotes are escaped.
  if (last >= DIGIT_0 && last <= DIGIT_9) {
    const tail = command.toString("latin1", Math.max(channelEnd, end - ID_BYTES_MAX), end);
    const idAt = tail.lastIndexOf(ID);
    if (idAt !== -1) {
      found.id = tail.slice(idAt + ID.length);
      end -= tail.length - idAt;
    }
  }
  found.channel = command.toString("latin1", COMMAND_HEAD.length, channelEnd);
  reserve(MESSAGE_HEAD.length + end - SHARED_AT);
  command.copy(frame, MESSAGE_HEAD.length, SHARED_AT, end);
  found.bytes = MESSAGE_HEAD.length + end - SHARED_AT;
  return found;
}

/** The message of the last command: a view, valid until the next. @param sender `,"from":{...}}` */
export function messageFrom(sender: string): Buffer {
  reserve(found.bytes + sender.length);
  return frame.subarray(0, found.bytes + frame.write(sender, found.bytes, "latin1"));
}

function reserve(bytes: number): void {
  if (bytes <= frame.length) return;
  const larger = Buffer.allocUnsafeSlow(bytes * 2);
  frame.copy(larger);
  frame = larger;
}
