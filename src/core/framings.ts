/** The framings that a node serves, each with its protocol and its counts. */

import type { Framing, FramingInUse } from "./framing.js";
import type { Protocol } from "./protocol.js";
import type { Stats } from "./stats.js";
import type { Topics } from "./transport.js";

/** What connections of one framing share, and hold in one field. */
export interface ServedFraming extends FramingInUse {
  readonly protocol: Protocol;
}

export class Framings {
  readonly #served = new Map<Framing, ServedFraming>();

  /** @throws Error where two protocols have one name, or two framings the same topics */
  constructor(protocols: readonly Protocol[], topics: Topics, stats: Stats) {
    const prefixes = new Set<string>();
    const names = new Set<string>();
    for (const protocol of protocols) {
      if (names.has(protocol.name)) throw new Error(`two protocols are called ${protocol.name}`);
      names.add(protocol.name);
      for (const framing of protocol.framings) {
        const { name, topicPrefix } = framing;
        if (prefixes.has(topicPrefix)) {
          throw new Error(
            `framing ${name} of ${protocol.name} has topic prefix ${topicPrefix}, which another framing uses`,
          );
        }
        prefixes.add(topicPrefix);
        this.#served.set(framing, {
          protocol,
          framing,
          topics,
          counts: stats.countFraming(protocol.name, name),
        });
      }
    }
  }

  /** @param framing  one of those that its protocol lists */
  get(framing: Framing): ServedFraming {
    return this.#served.get(framing)!;
  }
}
