/** Who is in one channel. The server knows connections; names come from tokens, introductions and messages. */

import { watchPresence, type Client, type Roster, type Sender } from "starling-edge/client";
import { Introductions } from "./introductions.js";
import { fitName } from "./name.js";

export interface Person {
  readonly connection: string;
  readonly user: string | undefined;
  /** What its token shows: nobody can give that to oneself. */
  readonly tokenName: string | undefined;
  /** Undefined: nothing that this page heard names it. */
  readonly name: string | undefined;
}

export interface PeopleOptions {
  readonly client: Client;
  readonly channel: string;
  /** Whether it is a connection that this page had before: not a person who is here. */
  readonly isPast: (connection: string) => boolean;
  /** The name to tell the others; undefined: none. */
  readonly toldName: () => string | undefined;
  readonly changed: () => void;
}

const NAMES_MAX = 500;
/** A crowd that comes at once is shown at once. */
const SETTLE_MS = 100;

export class People {
  readonly #options: PeopleOptions;
  readonly #roster: Roster;
  readonly #names = new Map<string, string>();
  #introductions: Introductions | undefined;
  #timer: number | undefined;
  #gone = false;

  constructor(options: PeopleOptions) {
    this.#options = options;
    this.#roster = watchPresence(options.client, options.channel, () => this.#changed());
  }

  /** Undefined where the channel does not tell. */
  get count(): number | undefined {
    const { count, members } = this.#roster;
    return count === undefined ? undefined : count - members.filter((member) => this.#isPast(member)).length;
  }

  get list(): Person[] {
    return this.#roster.members
      .filter((member) => !this.#isPast(member))
      .map((member) => ({
        connection: member.connection,
        user: member.user,
        tokenName: nameIn(member.info),
        name: this.#names.get(keyOf(member)) ?? member.user,
      }));
  }

  refresh(): void {
    this.#roster.refresh();
  }

  /** Tells the others one's own name: it is another now. */
  introduce(): void {
    this.#introductions?.say();
  }

  learn(member: Sender | undefined, given: string): void {
    const name = fitName(given);
    if (member === undefined || name === "") return;
    const key = keyOf(member);
    if (this.#names.get(key) === name) return;
    this.#names.delete(key);
    this.#names.set(key, name);
    const [oldest] = this.#names.keys();
    if (this.#names.size > NAMES_MAX && oldest !== undefined) this.#names.delete(oldest);
    this.#changed();
  }

  stop(): void {
    this.#gone = true;
    this.#roster.stop();
    this.#introductions?.stop();
    window.clearTimeout(this.#timer);
  }

  #isPast({ connection, user }: Sender): boolean {
    return user === undefined && this.#options.isPast(connection);
  }

  #changed(): void {
    if (this.#gone) return;
    // Where nobody is told to be here there is nobody to name.
    if (this.#roster.count !== undefined) {
      this.#introductions ??= new Introductions({
        ...this.#options,
        count: () => this.#roster.count ?? 0,
        learn: (member, name) => this.learn(member, name),
      });
    }
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

/** What a token shows of its user, where that has a name. */
function nameIn(info: unknown): string | undefined {
  const name = (info as { name?: unknown } | null | undefined)?.name;
  return typeof name === "string" ? fitName(name) || undefined : undefined;
}
