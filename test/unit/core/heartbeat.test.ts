import { describe, expect, it } from "vitest";
import { Heartbeat, type HeartbeatMember } from "../../../src/core/heartbeat.js";

class Member implements HeartbeatMember {
  heartbeatSlot = -1;
  heartbeatIndex = -1;
  awaitingPong = false;
  beats = 0;
  missed = 0;
  whenMissed: (() => void) | undefined;

  beat(): void {
    this.beats++;
  }

  heartbeatMissed(): void {
    this.missed++;
    this.whenMissed?.();
  }
}

/** Ticks of a second: 30 slots, ten ticks to answer. */
const wheel = (): Heartbeat => new Heartbeat({ intervalMs: 30_000, timeoutMs: 10_000 });

function addTo(heartbeat: Heartbeat, count: number): Member[] {
  return Array.from({ length: count }, () => {
    const member = new Member();
    heartbeat.add(member);
    return member;
  });
}

function ticks(heartbeat: Heartbeat, count: number, each: () => void = () => undefined): void {
  for (let i = 0; i < count; i++) {
    heartbeat.tick();
    each();
  }
}

describe("heartbeat wheel", () => {
  it("pings every member once per interval", () => {
    const heartbeat = wheel();
    const members = addTo(heartbeat, 100);
    const answer = (): void => members.forEach((member) => (member.awaitingPong = false));
    ticks(heartbeat, 30, answer);
    expect(members.map(({ beats }) => beats)).toEqual(members.map(() => 1));
    ticks(heartbeat, 60, answer);
    expect(members.map(({ beats }) => beats)).toEqual(members.map(() => 3));
    expect(members.every(({ missed }) => missed === 0)).toBe(true);
  });

  it("spreads members so that no tick pings everyone", () => {
    const heartbeat = wheel();
    const members = addTo(heartbeat, 9_000);
    const beatsOf = (some: readonly Member[]): number => some.reduce((sum, { beats }) => sum + beats, 0);
    let before = 0;
    ticks(heartbeat, 30, () => {
      const now = beatsOf(members);
      expect(Math.abs(now - before - 300)).toBeLessThanOrEqual(64);
      before = now;
    });
    expect(before).toBe(9_000);
  });

  it("pings those in one tick that came one after another", () => {
    const heartbeat = wheel();
    const slots = addTo(heartbeat, 2_000).map(({ heartbeatSlot }) => heartbeatSlot);
    const changes = slots.filter((slot, at) => at > 0 && slot !== slots[at - 1]).length;
    expect(changes).toBeLessThan(2_000 / 50);
  });

  it("judges a silent member when its time-out is over, not before and not later", () => {
    const heartbeat = wheel();
    const [member] = addTo(heartbeat, 1);
    heartbeat.tick();
    expect(member!.beats).toBe(1);
    ticks(heartbeat, 9);
    expect(member!.missed).toBe(0);
    heartbeat.tick();
    expect(member!.missed).toBe(1);
  });

  it("does not judge a member that was heard from in time", () => {
    const heartbeat = wheel();
    const [member] = addTo(heartbeat, 1);
    ticks(heartbeat, 10);
    member!.awaitingPong = false;
    ticks(heartbeat, 15);
    expect(member!.missed).toBe(0);
  });

  it("does not judge a member that joins a slot between its ping and its judgement", () => {
    const heartbeat = wheel();
    heartbeat.tick();
    const [late] = addTo(heartbeat, 1);
    expect(late!.heartbeatSlot).toBe(0);
    ticks(heartbeat, 20);
    expect(late!.missed).toBe(0);
  });

  it("loses nobody when members leave while their slot is judged", () => {
    const heartbeat = wheel();
    const members = addTo(heartbeat, 3);
    expect(members.map(({ heartbeatSlot }) => heartbeatSlot)).toEqual([0, 0, 0]);
    for (const member of members) member.whenMissed = () => heartbeat.remove(member);
    ticks(heartbeat, 11);
    expect(members.map(({ missed }) => missed)).toEqual([1, 1, 1]);
    ticks(heartbeat, 60);
    expect(members.map(({ beats }) => beats)).toEqual([1, 1, 1]);
  });

  it("goes on with the others of a slot after one was removed", () => {
    const heartbeat = wheel();
    const [first, second, third] = addTo(heartbeat, 3);
    heartbeat.remove(first!);
    heartbeat.remove(first!);
    heartbeat.tick();
    expect([first!.beats, second!.beats, third!.beats]).toEqual([0, 1, 1]);
    heartbeat.remove(third!);
    ticks(heartbeat, 30);
    expect([second!.beats, third!.beats]).toEqual([2, 1]);
  });

  it("closes a dead member within interval, time-out and a tick, also where both are short", () => {
    for (const times of [
      { intervalMs: 100, timeoutMs: 50 },
      { intervalMs: 100, timeoutMs: 99 },
      { intervalMs: 1000, timeoutMs: 990 },
      { intervalMs: 450_000, timeoutMs: 50 },
      { intervalMs: 7001, timeoutMs: 333 },
    ]) {
      const heartbeat = new Heartbeat(times);
      const [member] = addTo(heartbeat, 1);
      const most = Math.ceil((times.intervalMs + times.timeoutMs) / heartbeat.tickMs) + 1;
      let needed = 0;
      while (member!.missed === 0 && needed < 2 * most) {
        heartbeat.tick();
        needed++;
      }
      expect(needed, JSON.stringify(times)).toBeLessThanOrEqual(most);
    }
  });
});
