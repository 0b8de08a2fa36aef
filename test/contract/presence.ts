/** What every PresenceStore promises: run on memory and on a real Redis. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { PresenceEvent, PresenceMember, PresenceStore } from "../../src/core/presence.js";
import { Stats } from "../../src/core/stats.js";
import { eventually } from "../support/eventually.js";
import { presenceInfoContract } from "./presence-info.js";

export interface PresenceSetup {
  create(options: { graceMs: number; maxMembers?: number; stats: Stats }): PresenceStore;
}

const KEY = "main/chat:lobby";
const LONG_GRACE_MS = 60_000;
const SHORT_GRACE_MS = 60;

const member = (connection: string, user: string | null = null): PresenceMember => ({ connection, user });
/** In an order of their own: a page has none. */
const sorted = (members: readonly PresenceMember[]): PresenceMember[] =>
  [...members].sort((a, b) => (a.connection < b.connection ? -1 : 1));

const HOSTILE_NAMES = [
  "__proto__",
  "constructor",
  "",
  ":",
  "a:b",
  "-1",
  "=1",
  "+1",
  "a\nb",
  "a",
  "a\0b",
  '"',
  "\\",
  "\\n",
  "ü",
  "\u{1f600}",
  "\ud800",
  "\uffff",
  "\u2028",
  "x".repeat(5_000),
  "[(*?]",
  " ",
];

export function presenceContract(name: string, setup: PresenceSetup): void {
  presenceInfoContract(name, setup);
  describe(`presence on ${name}`, () => {
    let store: PresenceStore;
    let stats: Stats;
    let events: PresenceEvent[];
    let onEvent: (event: PresenceEvent) => void;

    async function begin(graceMs: number, maxMembers?: number): Promise<void> {
      stats = new Stats();
      events = [];
      onEvent = () => undefined;
      store = setup.create({ graceMs, stats, ...(maxMembers === undefined ? {} : { maxMembers }) });
      await store.start({
        event(event) {
          events.push(event);
          onEvent(event);
        },
      });
    }
    async function beginAgain(graceMs: number, maxMembers?: number): Promise<void> {
      await store.stop();
      await begin(graceMs, maxMembers);
    }
    const told = (): string[] => events.map(({ kind, member: { connection } }) => `${kind} ${connection}`);
    /** All that was caused before is told once this is. */
    async function barrier(key = KEY): Promise<void> {
      const last = `barrier-${events.length}`;
      store.join(key, member(last, last));
      await eventually(() => expect(events.at(-1)?.member.connection).toBe(last));
      events.pop();
    }

    beforeEach(() => begin(LONG_GRACE_MS));
    afterEach(() => store.stop());

    it("names the members by connection and user, and counts both", async () => {
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", "ann"));
      store.join(KEY, member("a.3", "bob"));
      store.join(KEY, member("a.4"));
      store.join(KEY, member("a.5"));
      const page = await store.members(KEY, 100);
      expect(sorted(page.members)).toEqual([
        member("a.1", "ann"),
        member("a.2", "ann"),
        member("a.3", "bob"),
        member("a.4"),
        member("a.5"),
      ]);
      expect(page).toMatchObject({ connections: 5, users: 4 });
      expect(await store.counts(KEY)).toEqual({ connections: 5, users: 4 });
    });

    it("knows at once by which connections of its own a user is in a channel", () => {
      const here = (user: string, key = KEY): string[] => [...store.connectionsHere(key, user)].sort();
      for (const connection of ["a.1", "a.2"]) store.join(KEY, member(connection, "ann"));
      store.join(KEY, member("a.3", "bob"));
      store.join(KEY, member("ann"));
      expect(here("ann")).toEqual(["a.1", "a.2"]);
      expect([...here("bob"), ...here("eve"), ...here("ann", "main/other")]).toEqual(["a.3"]);
      store.leave(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.3", "bob"));
      expect([...here("ann"), ...here("bob")]).toEqual(["a.2"]);
    });

    it("knows an empty channel", async () => {
      expect(await store.members("main/nobody", 10)).toEqual({ members: [], connections: 0, users: 0 });
      expect(await store.counts("main/nobody")).toEqual({ connections: 0, users: 0 });
    });

    it("keeps channels apart whose names begin alike, and those of other applications", async () => {
      const keys = ["main/chat", "main/chat:1", "main/chat:11", "main/cha", "other/chat", "main/CHAT"];
      keys.forEach((key, at) => store.join(key, member(`a.${at}`, "ann")));
      for (const [at, key] of keys.entries()) {
        expect(await store.members(key, 10)).toEqual({
          members: [member(`a.${at}`, "ann")],
          connections: 1,
          users: 1,
        });
      }
    });

    it("tells a join with the user's first connection, a leave after the last", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", "ann"));
      await eventually(() => expect(events).toEqual([{ key: KEY, kind: "join", member: events[0]!.member }]));
      expect(events[0]!.member).toEqual(member("a.1", "ann"));
      store.leave(KEY, member("a.1", "ann"));
      await barrier();
      expect(await store.counts(KEY)).toEqual({ connections: 2, users: 2 });
      store.leave(KEY, member("a.2", "ann"));
      await eventually(() => expect(told()).toEqual(["join a.1", "leave a.2"]));
      expect(events[1]).toEqual({ key: KEY, kind: "leave", member: member("a.2", "ann") });
    });

    it("does not tell of who is back within the grace, on whichever connection", async () => {
      store.join(KEY, member("a.1", "ann"));
      await barrier();
      for (let at = 1; at <= 5; at++) {
        store.leave(KEY, member(`a.${at}`, "ann"));
        expect(await store.counts(KEY)).toEqual({ connections: 2, users: 2 });
        store.join(KEY, member(`a.${at + 1}`, "ann"));
        const { members, connections, users } = await store.members(KEY, 10);
        expect(members).toContainEqual(member(`a.${at + 1}`, "ann"));
        expect([connections, users]).toEqual([2, 2]);
      }
      await barrier();
      expect(told()).toEqual(["join a.1"]);
    });

    it("lists who left by the last connection for as long as no leave is told", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", "ann"));
      store.join(KEY, member("a.3"));
      await eventually(() => expect(told()).toEqual(["join a.1", "join a.3"]));
      store.leave(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.2", "ann"));
      store.leave(KEY, member("a.3"));
      let listed = 0;
      await eventually(async () => {
        const before = told().length;
        const { members, connections, users } = await store.members(KEY, 10);
        if (told().length === before && users === 2) {
          expect(sorted(members)).toEqual([member("a.2", "ann"), member("a.3")]);
          expect(connections).toBe(2);
          listed++;
        }
        expect(users).toBe(0);
      });
      expect(listed).toBeGreaterThan(0);
      await eventually(() => expect(told().slice(2).sort()).toEqual(["leave a.2", "leave a.3"]));
    });

    it("lists who is back once, by the connection that is there", async () => {
      store.join(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", "ann"));
      store.join(KEY, member("a.3", "bob"));
      await store.counts(KEY);
      store.leave(KEY, member("a.3", "bob"));
      await store.counts(KEY);
      store.join(KEY, member("a.3", "bob"));
      expect(await store.members(KEY, 10)).toEqual({
        members: [member("a.2", "ann"), member("a.3", "bob")],
        connections: 2,
        users: 2,
      });
      store.leave(KEY, member("a.3", "bob"));
      expect(await store.counts(KEY)).toEqual({ connections: 2, users: 2 });
    });

    it("tells a page at its place among the events: a roster from both is right at every moment", async () => {
      await beginAgain(20);
      const nobody: string[] = [];
      const trouble: string[] = [];
      const rosters: (Set<string> | undefined)[] = [undefined, undefined, undefined];
      onEvent = ({ kind, member: { user } }) => {
        rosters.forEach((roster, at) => {
          const person = String(user);
          if (roster === undefined) return;
          if (roster.has(person) === (kind === "join")) trouble.push(`${at}: ${kind} of ${person}`);
          if (kind === "join") roster.add(person);
          else roster.delete(person);
        });
      };
      const read = (at: number): Promise<unknown> =>
        store.members(KEY, 100, ({ members }) => {
          const page = new Set(members.map(({ user }) => String(user)));
          const roster = rosters[at];
          if (roster !== undefined && [...roster].sort().join() !== [...page].sort().join()) {
            trouble.push(`${at}: had ${[...roster].sort().join()}, told ${[...page].sort().join()}`);
          }
          rosters[at] = page;
        });
      const there = new Map<number, string>();
      let number = 7;
      const below = (most: number): number => (number = (number * 48_271) % 2_147_483_647) % most;
      for (let step = 0; step < 400; step++) {
        const person = below(8);
        const connection = there.get(person);
        if (connection === undefined) {
          there.set(person, `a.${step}`);
          store.join(KEY, member(`a.${step}`, `p${person}`));
        } else {
          there.delete(person);
          store.leave(KEY, member(connection, `p${person}`));
        }
        if (below(4) === 0) void read(below(3));
        if (below(3) === 0) await new Promise((resolve) => setTimeout(resolve, below(12)));
      }
      const expected = [...there.keys()].map((person) => `p${person}`).sort();
      await eventually(async () => expect((await store.counts(KEY)).users).toBe(expected.length));
      for (const at of rosters.keys()) await read(at);
      expect(trouble).toEqual(nobody);
      for (const roster of rosters) expect([...roster!].sort()).toEqual(expected);
    });

    it("goes on when whoever is told a page throws, and counts it", async () => {
      store.join(KEY, member("a.1", "ann"));
      const told = store.members(KEY, 10, () => {
        throw new Error("from a test");
      });
      expect((await told).users).toBe(1);
      expect(stats.sessionFaults).toBe(1);
    });

    it("tells a new join after a leave was told", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann"));
      await eventually(() => expect(told()).toHaveLength(1));
      store.leave(KEY, member("a.1", "ann"));
      await eventually(() => expect(told()).toHaveLength(2));
      store.join(KEY, member("a.2", "ann"));
      await eventually(() => expect(told()).toEqual(["join a.1", "leave a.1", "join a.2"]));
    });

    it("takes each anonymous connection as somebody", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1"));
      await eventually(() => expect(told()).toEqual(["join a.1"]));
      store.join(KEY, member("a.2"));
      await eventually(() => expect(told()).toEqual(["join a.1", "join a.2"]));
      store.leave(KEY, member("a.1"));
      await eventually(() => expect(told()).toEqual(["join a.1", "join a.2", "leave a.1"]));
      expect(events.every(({ member: { user } }) => user === null)).toBe(true);
      expect(await store.members(KEY, 10)).toEqual({ members: [member("a.2")], connections: 1, users: 1 });
      await barrier();
    });

    it("confuses no user with another, however they are named", async () => {
      HOSTILE_NAMES.forEach((user, at) => store.join(KEY, member(`a.${100 + at}`, user)));
      // An anonymous connection named like a user is another.
      store.join(KEY, member("a"));
      const { members, users, connections } = await store.members(KEY, 100);
      expect(sorted(members)).toEqual([
        member("a"),
        ...HOSTILE_NAMES.map((user, at) => member(`a.${100 + at}`, user)),
      ]);
      expect([connections, users]).toEqual([HOSTILE_NAMES.length + 1, HOSTILE_NAMES.length + 1]);
      await barrier();
      expect(events.map(({ member: { user } }) => user)).toEqual([...HOSTILE_NAMES, null]);
    });

    it("takes out the one who leaves, however named", async () => {
      await beginAgain(SHORT_GRACE_MS);
      HOSTILE_NAMES.forEach((user, at) => store.join(KEY, member(`a.${100 + at}`, user)));
      store.join(KEY, member("a"));
      await eventually(() => expect(events).toHaveLength(HOSTILE_NAMES.length + 1));
      HOSTILE_NAMES.forEach((user, at) => store.leave(KEY, member(`a.${100 + at}`, user)));
      await eventually(async () => expect((await store.members(KEY, 100)).members).toEqual([member("a")]));
      await eventually(() => expect(events).toHaveLength(HOSTILE_NAMES.length * 2 + 1));
      const left = events.filter(({ kind }) => kind === "leave").map(({ member: { user } }) => user);
      expect(new Set(left)).toEqual(new Set(HOSTILE_NAMES));
    });

    it("keeps users apart of whom one's name begins with the other's", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "a"));
      store.join(KEY, member("a.2", "a\nb"));
      store.join(KEY, member("a.3", "a=b"));
      await eventually(() => expect(told()).toHaveLength(3));
      store.leave(KEY, member("a.1", "a"));
      await eventually(() => expect(told().at(-1)).toBe("leave a.1"));
    });

    it("heeds a limit and counts all the same", async () => {
      for (let at = 0; at < 30; at++) store.join(KEY, member(`a.${at}`, `user ${at % 10}`));
      for (const [limit, named] of [
        [7, 7],
        [1, 1],
        [0, 0],
        [-1, 0],
        [NaN, 0],
        [2.9, 2],
        [Infinity, 30],
      ] as const) {
        const page = await store.members(KEY, limit);
        expect(new Set(page.members.map(({ connection }) => connection)).size).toBe(named);
        expect(page).toMatchObject({ connections: 30, users: 10 });
      }
    });

    it("names no more than its own limit, whatever was asked", async () => {
      await beginAgain(LONG_GRACE_MS, 5);
      for (let at = 0; at < 8; at++) store.join(KEY, member(`a.${at}`));
      const page = await store.members(KEY, 1_000_000);
      expect(page.members).toHaveLength(5);
      expect(page.connections).toBe(8);
    });

    it("takes a repeated join as one, and a leave of who never joined as nothing", async () => {
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.9", "ann"));
      store.leave("main/other", member("a.1", "ann"));
      await barrier();
      store.join(KEY, member("a.1", "ann"));
      expect(await store.counts(KEY)).toEqual({ connections: 2, users: 2 });
      store.leave(KEY, member("a.1", "ann"));
      // Not for good, but it is not told yet.
      expect(await store.counts(KEY)).toEqual({ connections: 2, users: 2 });
      await barrier();
      expect(told()).toEqual(["join a.1"]);
    });

    it("keeps nothing of who came and went in one turn", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann"));
      store.leave(KEY, member("a.1", "ann"));
      await eventually(async () => expect(await store.counts(KEY)).toEqual({ connections: 0, users: 0 }));
      store.join(KEY, member("a.2", "bob"));
      store.leave(KEY, member("a.2", "bob"));
      store.join(KEY, member("a.2", "bob"));
      expect(await store.counts(KEY)).toEqual({ connections: 1, users: 1 });
      await barrier();
      // Either not at all or both.
      await eventually(() =>
        expect(told().filter((each) => each === "join a.1")).toHaveLength(
          told().filter((each) => each === "leave a.1").length,
        ),
      );
      expect(told().filter((each) => each.endsWith("a.2"))).toEqual(["join a.2"]);
    });

    it("takes a connection that joins as another user as left by the former", async () => {
      await beginAgain(SHORT_GRACE_MS);
      store.join(KEY, member("a.1", "ann"));
      await eventually(() => expect(told()).toHaveLength(1));
      store.join(KEY, member("a.1", "bob"));
      await eventually(() => expect(events).toHaveLength(3));
      expect((await store.members(KEY, 10)).members).toEqual([member("a.1", "bob")]);
      expect(events.slice(1)).toEqual([
        { key: KEY, kind: "join", member: member("a.1", "bob") },
        { key: KEY, kind: "leave", member: member("a.1", "ann") },
      ]);
      // Whatever the leave says: the connection is what leaves.
      store.leave(KEY, member("a.1", "ann"));
      await eventually(() => expect(events).toHaveLength(4));
      expect(events.at(-1)).toEqual({ key: KEY, kind: "leave", member: member("a.1", "bob") });
      expect(await store.counts(KEY)).toEqual({ connections: 0, users: 0 });
    });

    it("tells in a later phase of the loop than it was told", () => {
      store.join(KEY, member("a.1", "ann"));
      expect(events).toEqual([]);
    });

    it("tells a thousand joins and leaves, each once and in order", async () => {
      await beginAgain(SHORT_GRACE_MS);
      const connections = Array.from({ length: 1_000 }, (_, at) => `a.${at}`);
      for (const connection of connections) store.join(KEY, member(connection, `user of ${connection}`));
      await eventually(() => expect(told()).toEqual(connections.map((connection) => `join ${connection}`)));
      expect(await store.counts(KEY)).toEqual({ connections: 1_000, users: 1_000 });
      for (const connection of connections) store.leave(KEY, member(connection, `user of ${connection}`));
      // On a busy machine the grace of some is over by now: those were told.
      let accounted = 0;
      await store.members(KEY, 1_000, ({ users }) => (accounted = users + told().length - 1_000));
      expect(accounted).toBe(1_000);
      await eventually(() => expect(told()).toHaveLength(2_000));
      expect(new Set(told().slice(1_000))).toEqual(
        new Set(connections.map((connection) => `leave ${connection}`)),
      );
      expect(await store.counts(KEY)).toEqual({ connections: 0, users: 0 });
    });

    it("goes on when whoever is told throws, and counts it", async () => {
      onEvent = ({ member: { connection } }) => {
        if (connection === "a.1") throw new Error("from a test");
      };
      store.join(KEY, member("a.1", "ann"));
      store.join(KEY, member("a.2", "bob"));
      await eventually(() => expect(told()).toEqual(["join a.1", "join a.2"]));
      expect(stats.sessionFaults).toBe(1);
    });

    it("tells what is caused from within being told", async () => {
      onEvent = ({ member: { connection } }) => {
        if (connection === "a.1") store.join(KEY, member("a.2", "bob"));
      };
      store.join(KEY, member("a.1", "ann"));
      await eventually(() => expect(told()).toEqual(["join a.1", "join a.2"]));
    });

    it("stops twice as well as once, and then takes nobody in", async () => {
      store.join(KEY, member("a.1", "ann"));
      await barrier();
      await store.stop();
      await store.stop();
      store.join(KEY, member("a.2", "bob"));
      store.leave(KEY, member("a.1", "ann"));
      expect(told()).toEqual(["join a.1"]);
    });

    const enter = (connection: string, user: string, usersMost: number): Promise<boolean> =>
      store.enter(KEY, member(connection, user), { usersMost, limit: 100 }, () => undefined);

    it("lets in as many users as there is room for, however many come at once, and tells of nobody else", async () => {
      await begin(LONG_GRACE_MS);
      const came = await Promise.all(
        Array.from({ length: 20 }, (_, index) => enter(`c${index}`, `u${index % 10}`, 7)),
      );
      expect(came.filter((entered) => entered)).toHaveLength(14);
      expect(await store.counts(KEY)).toEqual({ connections: 14, users: 7 });
      await barrier("main/other");
      expect(told()).toHaveLength(7);
      // A second connection of a member fits, a grace keeps its seat, and a full channel frees one.
      const [inside] = events.map(({ member: { user } }) => user!);
      expect(await enter("again", inside!, 7)).toBe(true);
      expect(await enter("late", "late", 7)).toBe(false);
      expect(await enter("late", "late", 8)).toBe(true);
    });

    it("answers who enters with a page that has it, and names each user where there is no room for all", async () => {
      await begin(LONG_GRACE_MS);
      for (let index = 0; index < 30; index++) store.join(KEY, member(`a${index}`, "a"));
      for (let index = 0; index < 4; index++) store.join(KEY, member(`b${index}`, `b${index}`));
      const pages: (readonly (string | null)[])[] = [];
      const entered = await store.enter(KEY, member("z", "z"), { usersMost: 10, limit: 6 }, ({ members }) =>
        pages.push(members.map(({ user }) => user).sort()),
      );
      expect([entered, pages]).toEqual([true, [["a", "b0", "b1", "b2", "b3", "z"]]]);
    });
  });
}
