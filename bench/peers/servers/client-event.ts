/** Turns a client event into the frame that the other subscribers get: its data as a string, all else as it came. */

const HEAD = Buffer.from('{"event":"client-');
const CHANNEL = '","channel":"';
const DATA = '","data":';

export interface ClientEvent {
  readonly channel: string;
  readonly frame: string;
}

/** @returns undefined unless it is a client event written as the generator writes it */
export function clientEventFrom(bytes: Buffer): ClientEvent | undefined {
  for (let at = 0; at < HEAD.length; at++) if (bytes[at] !== HEAD[at]) return undefined;
  const text = bytes.toString();
  const channelAt = text.indexOf(CHANNEL, HEAD.length) + CHANNEL.length;
  const channelEnd = text.indexOf(DATA, channelAt);
  const dataAt = channelEnd + DATA.length;
  return {
    channel: text.slice(channelAt, channelEnd),
    frame: `${text.slice(0, dataAt)}${JSON.stringify(text.slice(dataAt, -1))}}`,
  };
}
