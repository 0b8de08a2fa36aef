/** What every PresenceStore promises of the info that members show; presence.ts runs it. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { MEMBER_INFO_BYTES_MAX } from "../../src/core/limits.js";
import type { PresenceEvent, PresenceMember, PresenceStore } from "../../src/core/presence.js";
import { Stats } from "../../src/core/stats.js";
import { eventually } from "../support/eventually.js";
import type { PresenceSetup } from "./presence.js";

const KEY = "main/chat:lobby";
const LONG_GRACE_MS = 60_000;
const SHORT_GRACE_MS = 60;

const member = (connection: string, user: string | null, info?: string): PresenceMember =>
  info === undefined ? { connection, user } : { connection, user, info };
const sorted = (members: readonly PresenceMember[]): PresenceMember[] =>
  [...members].sort((a, b) => (a.connection < b.connection ? -1 : 1));
const large = (name: string): string => JSON.stringify(name.padEnd(MEMBER_INFO_BYTES_MAX - 2, "."));

const INFOS = [
  "1",
  "-0",
  "true",
  '""',
  "[]",
  "{}",
  '{"name":"Ann","age":7}',
  '{"__proto__":{"a":1},"constructor":null}',
  '"\\n\\r\\u0000\\ud800"',
  '"ü \u{1f600} \u2028 \u007f \uffff"',
  "12345678901234567890",
  `${"[".repeat(64)}${"]".repeat(64)}`,
  large("x"),
  JSON.stringify("ü".repeat(511)),
  '"main/chat:lobby\\n=ann"',
];

export function presenceInfoContract(name: string, setup: PresenceSetup): void {
  describe(`what members show in presence on ${name}`, () => {
    let store: PresenceStore;
    let events: PresenceEvent[];
    let onEvent: (event: PresenceEvent) => void;

    async function begin(graceMs: number): Promise<void> {
      events = [];
      onEvent = () => undefined;
      store = setup.create({ graceMs, stats: new Stats() });
      await store.start({
        event(event) {
          if (event.member.connection.startsWith("barrier")) return void passed.push(event.member.connection);
          events.push(event);
          onEvent(event);
        },
      });
    }
    async function beginAgain(graceMs: number): Promise<void> {
      await store.stop();
      await begin(graceMs);
    }
    const told = (): string[] =>
      events.map(({ kind, member: { connection, info } }) =>
        [kind, connection, ...(info === undefined ? [] : [info])].join(" "),
      );
    const passed: string[] = [];
    /** All that was caused before is told once this is. */
    async function barrier(): Promise<void> {
      const last = `barrier-${passed.length}`;
      store.join("main/barrier", member(last, last));
      await eventually(() => expect(passed.at(-1)).toBe(last));
      await store.counts(KEY);
    }
    const listed = async (): Promise<PresenceMember[]> => sorted((await store.members(KEY, 100)).members);

    beforeEach(() => begin(LONG_GRACE_MS));
    afterEach(() => store.stop());

    it("is listed as it was given, and told with the join but not with the leave", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann", '{"name":"Ann"}'));
      store.join(KEY, member("a.2", "bob"));
      store.join(KEY, member("a.3", null, "3"));
      await barrier();
      expect(await listed()).toEqual([
        member("a.1", "ann", '{"name":"Ann"}'),
        member("a.2", "bob"),
        member("a.3", null, "3"),
      ]);
      expect(told()).toEqual(['join a.1 {"name":"Ann"}', "join a.2", "join a.3 3"]);
      store.leave(KEY, member("a.1", "ann", '{"name":"Ann"}'));
      store.leave(KEY, member("a.3", null, "3"));
      await eventually(() => expect(told().slice(3).sort()).toEqual(["leave a.1", "leave a.3"]));
      expect(await listed()).toEqual([member("a.2", "bob")]);
    });

    it("is whatever JSON says", async () => {
      INFOS.forEach((info, at) => store.join(KEY, member(`a.${at + 10}`, `user ${at}`, info)));
      const expected = INFOS.map((info, at) => member(`a.${at + 10}`, `user ${at}`, info));
      await barrier();
      expect(await listed()).toEqual(expected);
      expect(events.map(({ member }) => member)).toEqual(expected);
      for (const { connection, user } of expected) store.join(KEY, member(connection, user, "0"));
      await barrier();
      expect((await listed()).map(({ info }) => info)).toEqual(INFOS.map(() => "0"));
      expect(events).toHaveLength(INFOS.length * 2);
    });

    it("is told anew when it is another, once, and not when it is the same", async () => {
      store.join(KEY, member("a.1", "ann", "1"));
      store.join(KEY, member("a.2", null));
      await barrier();
      store.join(KEY, member("a.1", "ann", "1"));
      store.join(KEY, member("a.2", null));
      await barrier();
      store.join(KEY, member("a.1", "ann", "2"));
      store.join(KEY, member("a.2", null, "2"));
      await barrier();
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", null, "3"));
      await barrier();
      expect(told()).toEqual([
        "join a.1 1",
        "join a.2",
        "update a.1 2",
        "update a.2 2",
        "update a.1",
        "update a.2 3",
      ]);
      expect(events[2]).toEqual({ key: KEY, kind: "update", member: member("a.1", "ann", "2") });
      expect(await listed()).toEqual([member("a.1", "ann"), member("a.2", null, "3")]);
    });

    it("is each connection's own; of a user it is told what one of them shows", async () => {
      store.join(KEY, member("a.1", "ann", "1"));
      await barrier();
      store.join(KEY, member("a.2", "ann", "1"));
      store.join(KEY, member("a.3", "ann"));
      await barrier();
      expect(told()).toEqual(["join a.1 1"]);
      store.join(KEY, member("a.4", "ann", "4"));
      await barrier();
      expect(told().slice(1)).toEqual(["update a.4 4"]);
      expect(await listed()).toEqual([
        member("a.1", "ann", "1"),
        member("a.2", "ann", "1"),
        member("a.3", "ann"),
        member("a.4", "ann", "4"),
      ]);
      store.leave(KEY, member("a.4", "ann"));
      await barrier();
      expect(told().slice(2)).toEqual(["update a.1 1"]);
      store.leave(KEY, member("a.1", "ann"));
      await barrier();
      expect(told().slice(3)).toEqual([]);
      store.leave(KEY, member("a.2", "ann"));
      await barrier();
      expect(told().slice(3)).toEqual(["update a.3"]);
      expect(await listed()).toEqual([member("a.3", "ann")]);
    });

    it("stays while the user may come back, and is told then only if it is another", async () => {
      store.join(KEY, member("a.1", "ann", "1"));
      await barrier();
      store.leave(KEY, member("a.1", "ann"));
      await barrier();
      expect(await listed()).toEqual([member("a.1", "ann", "1")]);
      store.join(KEY, member("a.2", "ann", "1"));
      await barrier();
      expect(await listed()).toEqual([member("a.2", "ann", "1")]);
      expect(told()).toEqual(["join a.1 1"]);
      store.leave(KEY, member("a.2", "ann"));
      await barrier();
      store.join(KEY, member("a.2", "ann", "2"));
      await barrier();
      store.leave(KEY, member("a.2", "ann"));
      await barrier();
      store.join(KEY, member("a.3", "ann"));
      await barrier();
      expect(told().slice(1)).toEqual(["update a.2 2", "update a.3"]);
      expect(await listed()).toEqual([member("a.3", "ann")]);
    });

    it("is forgotten with its member, and with what leaves and joins in one turn", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann", "1"));
      store.join(KEY, member("a.2", "bob", "2"));
      await barrier();
      store.leave(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.2", "bob"));
      await eventually(() => expect(told().at(-1)).toBe("leave a.2"));
      store.join(KEY, member("a.2", "bob"));
      await barrier();
      expect(await listed()).toEqual([member("a.1", "ann"), member("a.2", "bob")]);
      expect(told()).toEqual(["join a.1 1", "join a.2 2", "update a.1", "leave a.2", "join a.2"]);
    });

    it("is told of whoever the connection is now", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann", "1"));
      await barrier();
      store.join(KEY, member("a.1", "bob", "1"));
      await eventually(() => expect(told()).toEqual(["join a.1 1", "join a.1 1", "leave a.1"]));
      expect(await listed()).toEqual([member("a.1", "bob", "1")]);
    });

    it("comes whole with a thousand members of a kilobyte each, and with as many as were asked for", async () => {
      const members = Array.from({ length: 1_000 }, (_, at) =>
        member(`a.${1_000 + at}`, at % 3 === 0 ? null : `user ${at}`, large(String(at))),
      );
      for (const each of members) store.join(KEY, each);
      store.join("main/chat", member("a.1", null, large("of a channel before")));
      store.join("main/chat:lobby2", member("a.1", null, large("of a channel behind")));
      await barrier();
      expect(sorted((await store.members(KEY, 1_000)).members)).toEqual(members);
      for (const limit of [0, 1, 49, 50, 51, 200]) {
        const page = await store.members(KEY, limit);
        expect(page.members).toHaveLength(limit);
        for (const each of page.members) expect(members).toContainEqual(each);
        expect(page.connections).toBe(1_000);
      }
    });

    it("is known of everybody by a page and what follows it, at every moment", async () => {
      await beginAgain(20);
      const trouble: string[] = [];
      /** By user: the infos of its connections, and of those who may come back the last one's. */
      const truth = new Map<string, Map<string, string | undefined>>();
      const rosters: (Map<string, string | undefined> | undefined)[] = [undefined, undefined];
      onEvent = ({ kind, member: { user, info } }) => {
        for (const [at, roster] of rosters.entries()) {
          const person = String(user);
          if (roster === undefined) continue;
          if (roster.has(person) === (kind === "join")) trouble.push(`${at}: ${kind} of ${person}`);
          if (kind === "leave") roster.delete(person);
          else roster.set(person, info);
        }
      };
      const read = (at: number): Promise<unknown> =>
        store.members(KEY, 100, ({ members }) => {
          const roster = new Map<string, string | undefined>();
          for (const { user, info } of members) if (!roster.has(String(user))) roster.set(String(user), info);
          rosters[at] = roster;
        });
      let number = 11;
      const below = (most: number): number => (number = (number * 48_271) % 2_147_483_647) % most;
      const infoOf = (): string | undefined => (below(4) === 0 ? undefined : String(below(3)));
      for (let step = 0; step < 500; step++) {
        const user = `p${below(5)}`;
        const connections = truth.get(user) ?? new Map<string, string | undefined>();
        truth.set(user, connections);
        const some = [...connections.keys()][below(3)];
        const what = below(3);
        if (some === undefined || (what === 0 && connections.size < 3)) {
          const info = infoOf();
          connections.set(`a.${step}`, info);
          store.join(KEY, member(`a.${step}`, user, info));
        } else if (what === 1) {
          const info = infoOf();
          connections.set(some, info);
          store.join(KEY, member(some, user, info));
        } else {
          connections.delete(some);
          store.leave(KEY, member(some, user));
        }
        if (below(6) === 0) void read(below(2));
        if (below(3) === 0) await new Promise((resolve) => setTimeout(resolve, below(12)));
      }
      const present = [...truth].filter(([, { size }]) => size > 0);
      await eventually(async () => expect((await store.counts(KEY)).users).toBe(present.length));
      await barrier();
      expect(trouble).toEqual([]);
      const expected = present.flatMap(([user, all]) => [...all].map(([id, info]) => member(id, user, info)));
      expect(await listed()).toEqual(sorted(expected));
      for (const roster of rosters) {
        expect([...roster!.keys()].sort()).toEqual(present.map(([user]) => user).sort());
        for (const [user, info] of roster!) expect([...truth.get(user)!.values()]).toContain(info);
      }
    });
  });
}
