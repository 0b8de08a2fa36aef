/** What every ControlBus promises: src/core/control.ts. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ControlBus, ControlCommand, ControlHandlers, ControlQuestion } from "../../src/core/control.js";
import { eventually } from "../support/eventually.js";

export interface RecordingHandlers extends ControlHandlers {
  readonly commands: ControlCommand[];
  readonly questions: ControlQuestion[];
}

export function recordingHandlers(): RecordingHandlers {
  const commands: ControlCommand[] = [];
  const questions: ControlQuestion[] = [];
  return {
    commands,
    questions,
    command: (command) => void commands.push(command),
    answer(question) {
      questions.push(question);
      if (question.kind === "recorded") return Promise.resolve({ kind: "recorded" });
      if (question.kind === "subscribers") {
        return { kind: "subscribers", counts: question.channels.map((channel) => channel.length) };
      }
      if (question.kind === "channels") return { kind: "channels", counts: { room: 2, "#user:1": 1 } };
      const connection = {
        connection: "c1",
        userId: null,
        channels: ["room"],
        connectedAt: 1,
        lastActivity: 2,
      };
      return { kind: "connections", connections: [connection] };
    },
  };
}

export const COMMANDS: readonly ControlCommand[] = [
  { kind: "disconnect", app: "main", target: { user: "ü 42" }, reason: "gone" },
  { kind: "supersede", connection: "c1" },
  { kind: "disconnect", app: "main", target: { connection: "c1" }, reason: "" },
  { kind: "unsubscribe", app: "main", target: { user: "42" }, channel: "room" },
  { kind: "permit", app: "main", target: { connection: "c1" }, channels: ["news:*"], publish: [] },
  { kind: "permit", app: "main", target: { user: "42" }, channels: undefined, publish: ["room"] },
];

/** @param create  the bus of node "n1", not started, the only one on it */
export function describeControlContract(name: string, create: () => ControlBus): void {
  describe(`control contract: ${name}`, () => {
    let bus: ControlBus;
    let handlers: RecordingHandlers;

    beforeEach(async () => {
      bus = create();
      handlers = recordingHandlers();
      await bus.start(handlers);
    });
    afterEach(() => bus.stop());

    it("brings every kind of command to this node too, in order", async () => {
      for (const command of COMMANDS) await bus.command(command);
      await eventually(() => expect(handlers.commands).toEqual(COMMANDS));
    });

    it("never runs a command inside the call that gives it", async () => {
      const given = bus.command(COMMANDS[0]!);
      expect(handlers.commands).toEqual([]);
      await given;
    });

    it("asks this node too", async () => {
      const question = { kind: "channels", app: "main", prefix: "", limit: 10 } as const;
      expect(await bus.ask(question)).toEqual({
        answers: [{ node: "n1", answer: { kind: "channels", counts: { room: 2, "#user:1": 1 } } }],
        missing: [],
      });
      expect(handlers.questions).toEqual([question]);
      const { answers } = await bus.ask({ kind: "connections", app: "main", user: "42" });
      expect(answers).toEqual([
        { node: "n1", answer: recordingHandlers().answer({ kind: "connections", app: "main", user: "42" }) },
      ]);
    });

    it("asks of many channels at once, which may have any names", async () => {
      const channels = ["room", "#user:1", "__proto__"];
      const { answers } = await bus.ask({ kind: "subscribers", app: "main", channels });
      expect(answers).toEqual([{ node: "n1", answer: { kind: "subscribers", counts: [4, 7, 9] } }]);
    });

    it("waits for an answer that takes its time", async () => {
      expect(await bus.ask({ kind: "recorded" })).toEqual({
        answers: [{ node: "n1", answer: { kind: "recorded" } }],
        missing: [],
      });
    });

    it("refuses with unavailable after stop, and stops twice", async () => {
      await bus.stop();
      await expect(bus.command(COMMANDS[0]!)).rejects.toMatchObject({ code: "unavailable" });
      await expect(bus.ask({ kind: "connections", app: "main", user: "42" })).rejects.toMatchObject({
        code: "unavailable",
      });
      await bus.stop();
    });
  });
}
