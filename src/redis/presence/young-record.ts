/**
 * A record that had only just begun when this node met it: Redis may have lost the one before, and other nodes write their
 * members again without telling. Whether a page lacked one of those shows behind the grace, in numbers: users of the
 * page, and the joins and leaves told since, against the users who are there.
 */

import type { ChannelKey } from "../../core/broker.js";
import type { PresenceEvent, PresencePage } from "../../core/presence.js";

const ASKED_AT_ONCE = 100;

export class YoungRecord {
  /** By channel: as many users as were told. */
  readonly #users = new Map<ChannelKey, number>();

  /** A page was given, at its place among the events. */
  page(key: ChannelKey, { users }: PresencePage): void {
    this.#users.set(key, users);
  }

  event({ key, kind }: PresenceEvent): void {
    const users = this.#users.get(key);
    if (users === undefined || kind === "update") return;
    this.#users.set(key, kind === "join" ? users + 1 : users - 1);
  }

  /**
   * @param ask  as PresenceStore's members, of which only the counts are needed
   * @returns whether somebody is there who was not told
   * @throws StarlingError unavailable, outcome_unknown
   */
  async lacked(
    ask: (key: ChannelKey, tell: (page: PresencePage) => void) => Promise<PresencePage>,
  ): Promise<boolean> {
    const keys = [...this.#users.keys()];
    let lacked = false;
    for (let at = 0; at < keys.length && !lacked; at += ASKED_AT_ONCE) {
      const some = keys.slice(at, at + ASKED_AT_ONCE);
      await Promise.all(
        some.map((key) => ask(key, ({ users }) => void (lacked ||= users !== this.#users.get(key)))),
      );
    }
    return lacked;
  }
}
