/** Who is in one channel: asked once, kept up by joins and leaves. The server knows connections; names come from messages. */

import type { Client, Message, Presence, PresenceChange, StarlingError } from "starling-edge/client";
import { patiently } from "./patience.js";

type Sender = NonNullable<Message["from"]>;

export interface Person {
  readonly connection: string;
  readonly user: string | undefined;
  /** Undefined: has not said anything that this page knows of. */
  readonly name: string | undefined;
}

export interface PeopleOptions {
  readonly client: Client;
  readonly channel: string;
  /** Whether it is a connection that this page had before: not a person who is here. */
  readonly isPast: (connection: string) => boolean;
  readonly changed: () => void;
}

interface Change {
  readonly member: Sender;
  readonly here: boolean;
}

/** Beyond these, people are only counted. */
const LISTED_MAX = 100;
const NAMES_MAX = 500;
/** A crowd that comes at once is shown at once. */
const SETTLE_MS = 100;

export class People {
  readonly #options: PeopleOptions;
  readonly #members = new Map<string, Sender>();
  readonly #names = new Map<string, string>();
  /** How many are here beside those. */
  #unlisted = 0;
  /** Whether the channel tells who is there; undefined until it answered. */
  #told: boolean | undefined;
  /** What changed since the question that is on its way: its answer may be older. */
  #meanwhile: Change[] | undefined;
  #timer: number | undefined;
  #gone = false;

  constructor(options: PeopleOptions) {
    this.#options = options;
  }

  /** Undefined where the channel does not tell. */
  get count(): number | undefined {
    return this.#told === true ? this.#members.size + this.#unlisted : undefined;
  }

  get list(): Person[] {
    return [...this.#members].map(([key, member]) => ({
      connection: member.connection,
      user: member.user,
      name: this.#names.get(key) ?? member.user,
    }));
  }

  /** One question at a time. */
  async refresh(): Promise<void> {
    if (this.#meanwhile !== undefined) return;
    const meanwhile: Change[] = (this.#meanwhile = []);
    const { client, channel } = this.#options;
    try {
      const wanted = (): boolean => !this.#gone && client.state === "connected";
      this.replace(await patiently(() => client.presence(channel, { limit: LISTED_MAX }), wanted));
      for (const { member, here } of meanwhile) this.#apply(member, here);
    } catch (error) {
      // Nothing is shown where the channel does not tell; otherwise what was known until it is asked again.
      if (!(error as StarlingError).temporary) this.#told = false;
      console.debug("presence", error);
    } finally {
      this.#meanwhile = undefined;
    }
    this.#changed();
  }

  replace({ members, users }: Presence): void {
    this.#told = true;
    this.#members.clear();
    let past = 0;
    for (const member of members) {
      if (this.#isPast(member)) past++;
      else this.#members.set(keyOf(member), member);
    }
    this.#unlisted = Math.max(0, users - past - this.#members.size);
    this.#changed();
  }

  came(change: PresenceChange): void {
    this.#change(change, true);
  }

  left(change: PresenceChange): void {
    this.#change(change, false);
  }

  learn(member: Sender | undefined, name: string): void {
    if (member === undefined) return;
    const key = keyOf(member);
    if (this.#names.get(key) === name) return;
    this.#names.delete(key);
    this.#names.set(key, name);
    const [oldest] = this.#names.keys();
    if (this.#names.size > NAMES_MAX && oldest !== undefined) this.#names.delete(oldest);
    if (this.#members.has(key)) this.#changed();
  }

  stop(): void {
    this.#gone = true;
    window.clearTimeout(this.#timer);
  }

  #change({ connection, user }: PresenceChange, here: boolean): void {
    const member = user === undefined ? { connection } : { connection, user };
    if (this.#isPast(member)) return;
    this.#meanwhile?.push({ member, here });
    this.#apply(member, here);
    this.#changed();
  }

  #isPast({ connection, user }: Sender): boolean {
    return user === undefined && this.#options.isPast(connection);
  }

  #apply(member: Sender, here: boolean): void {
    const key = keyOf(member);
    if (this.#members.has(key)) {
      if (!here) this.#members.delete(key);
    } else if (!here) {
      this.#unlisted = Math.max(0, this.#unlisted - 1);
    } else if (this.#members.size < LISTED_MAX) {
      this.#members.set(key, member);
    } else {
      this.#unlisted++;
    }
  }

  #changed(): void {
    if (this.#gone) return;
    this.#timer ??= window.setTimeout(() => {
      this.#timer = undefined;
      this.#options.changed();
    }, SETTLE_MS);
  }
}

/** A user is one person, whatever the number of connections; without a user each connection is one. */
function keyOf({ connection, user }: Sender): string {
  return user === undefined ? `connection ${connection}` : `user ${user}`;
}
