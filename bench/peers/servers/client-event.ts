/** Turns a client event into the frame that the other subscribers get: its data as a string, as Starling sends it. */

const EVENT = Buffer.from('{"event":"');
const CLIENT = Buffer.from('{"event":"client-');
const CHANNEL = ',"channel":"';
const DATA = '","data":';

export interface ClientEvent {
  readonly channel: string;
  readonly frame: string;
}

/** @returns undefined unless it is a client event written as the generator writes it */
export function clientEventFrom(bytes: Buffer): ClientEvent | undefined {
  for (let at = 0; at < CLIENT.length; at++) if (bytes[at] !== CLIENT[at]) return undefined;
  const text = bytes.toString();
  const eventEnd = text.indexOf(CHANNEL, CLIENT.length);
  const channelAt = eventEnd + CHANNEL.length;
  const channelEnd = text.indexOf(DATA, channelAt);
  const channel = text.slice(channelAt, channelEnd);
  const event = text.slice(EVENT.length - 1, eventEnd);
  const data = JSON.stringify(text.slice(channelEnd + DATA.length, -1));
  return { channel, frame: `{"channel":"${channel}","event":${event},"data":${data}}` };
}
