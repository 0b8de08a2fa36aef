/** What broker tests publish, and a record of what came back. */

import type { Broker, BusPublication, PublishRequest } from "../../src/core/broker.js";
import type { StarlingError } from "../../src/core/errors.js";
import { Encoding } from "../../src/encoding/payload.js";

export type RequestFields = Partial<Omit<PublishRequest, "settle">>;
export type Outcome = "sent" | StarlingError["code"];

/** Publishes JSON text unless another payload is given. @returns what it settled with, each time */
export function publish(broker: Broker, text: string, fields: RequestFields = {}): Outcome[] {
  const outcomes: Outcome[] = [];
  broker.publish({
    key: "main/room",
    payload: { bytes: Buffer.from(JSON.stringify(text)), encoding: Encoding.json },
    from: undefined,
    event: undefined,
    tags: undefined,
    exclude: undefined,
    ...fields,
    settle: (failure) => outcomes.push(failure?.code ?? "sent"),
  });
  return outcomes;
}

export interface Recorder {
  /** Texts that publish sent, in order, whatever their channel. */
  readonly texts: string[];
  readonly publications: BusPublication[];
  /** Every change of the link, in order. */
  readonly links: boolean[];
  publication(publication: BusPublication): void;
  /** All. */
  hasSubscribers(): boolean;
  link(up: boolean): void;
}

export function createRecorder(): Recorder {
  const texts: string[] = [];
  const publications: BusPublication[] = [];
  const links: boolean[] = [];
  return {
    texts,
    publications,
    links,
    publication(publication) {
      // Its bytes are valid during the call only.
      const bytes = Buffer.from(publication.payload.bytes);
      publications.push({ ...publication, payload: { ...publication.payload, bytes } });
      if (publication.payload.encoding === Encoding.json) texts.push(String(JSON.parse(bytes.toString())));
    },
    hasSubscribers: () => true,
    link(up) {
      links.push(up);
    },
  };
}
