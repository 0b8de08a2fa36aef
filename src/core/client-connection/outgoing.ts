/** The half of a connection that sends: to its socket, and by the topics that it is on. */

import type { LocalChannel } from "../channel.js";
import type { EdgeContext } from "../context.js";
import type { ServedFraming } from "../framings.js";
import type { Protocol } from "../protocol.js";
import { SEND_RESULTS, type SendResult, type Socket } from "../transport.js";

/** Fields of one object with those of Incoming and ClientConnection: a node holds very many. */
export abstract class Outgoing {
  readonly edge: EdgeContext;
  readonly served: ServedFraming;
  /** undefined: not open yet, or closed. */
  protected socket: Socket | undefined;

  constructor(edge: EdgeContext, served: ServedFraming) {
    this.edge = edge;
    this.served = served;
  }

  get protocol(): Protocol {
    return this.served.protocol;
  }

  get obeysRetryAfter(): boolean {
    return this.protocol.obeysRetryAfter;
  }

  get isClosed(): boolean {
    return this.socket === undefined;
  }

  /** Frames were lost to the socket's hard limit. */
  protected abstract lost(): void;
  abstract checkBuffered(): void;

  send(frame: Uint8Array): void {
    if (!this.isClosed && this.sendFrame(frame) !== "sent") this.checkBuffered();
  }

  /** Without a look at what waits already: for several in a row, with a look behind the last. */
  sendFrame(frame: Uint8Array): SendResult {
    if (this.socket === undefined) return "dropped";
    const { counts, framing } = this.served;
    counts.messagesOut++;
    counts.bytesOut += frame.length;
    const result = SEND_RESULTS[this.socket.send(frame, framing.binary)]!;
    if (result === "dropped") this.lost();
    return result;
  }

  /** Puts it on a channel's topic. */
  joinTopic(channel: LocalChannel): void {
    const topic = channel.topic(this.served);
    topic.subscribers++;
    this.socket?.subscribe(topic.name);
  }

  /** Takes it off a channel's topic. */
  leaveTopic(channel: LocalChannel): void {
    const topic = channel.topic(this.served);
    topic.subscribers--;
    this.socket?.unsubscribe(topic.name);
  }

  /** To all on a topic that it is on, but it. */
  publishToOthers(topic: string, frame: Uint8Array, binary: boolean): void {
    this.socket?.publish(topic, frame, binary);
  }

  /** That wait in this process for the client to read. */
  bufferedBytes(): number {
    return this.socket?.getBufferedAmount() ?? 0;
  }

  /** Sends a ping of the transport. @returns whether it left this process at once */
  ping(): boolean {
    return this.socket !== undefined && SEND_RESULTS[this.socket.ping()] === "sent";
  }
}
