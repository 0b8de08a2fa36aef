/** The framings of the native protocol: one for each codec. */

import type { ProtocolConnection } from "../../core/protocol.js";
import type { Framing } from "../../core/framing.js";
import type { Codec } from "./codec.js";
import { CODECS } from "./codecs.js";
import { channelMessage } from "./notices.js";

export interface StarlingFraming extends Framing {
  readonly codec: Codec;
}

/** In the order of CODECS. */
export const FRAMINGS: readonly StarlingFraming[] = CODECS.map((codec) => ({
  codec,
  name: codec.name,
  topicPrefix: codec.topicPrefix,
  binary: codec.binary,
  positions: true,
  tellsUserOfItself: true,
  head: codec.head,
  publication: codec.encodePublication,
  notice: (channel, notice) => {
    const message = channelMessage(channel, notice);
    return message === undefined ? undefined : codec.encode(message);
  },
}));

/** Of a connection that speaks this protocol. */
export function codecOf(connection: ProtocolConnection): Codec {
  return (connection.served.framing as StarlingFraming).codec;
}
