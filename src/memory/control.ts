/** Control of a node that runs alone: its own commands and answers, in a later turn as on a real bus. */

import type {
  ControlAnswer,
  ControlBus,
  ControlCommand,
  ControlHandlers,
  ControlQuestion,
} from "../core/control.js";
import { StarlingError } from "../core/errors.js";

export interface MemoryControlOptions {
  readonly nodeId: string;
}

export function createMemoryControl({ nodeId }: MemoryControlOptions): ControlBus {
  let handlers: ControlHandlers | undefined;

  async function running(): Promise<ControlHandlers> {
    await new Promise((resolve) => setImmediate(resolve));
    if (handlers === undefined) throw new StarlingError("unavailable", "this node is not running");
    return handlers;
  }

  return {
    start(given: ControlHandlers): Promise<void> {
      handlers = given;
      return Promise.resolve();
    },
    async command(command: ControlCommand): Promise<void> {
      (await running()).command(command);
    },
    async ask(question: ControlQuestion) {
      const answer: ControlAnswer = await (await running()).answer(question);
      return { answers: [{ node: nodeId, answer }], missing: [] };
    },
    stop(): Promise<void> {
      handlers = undefined;
      return Promise.resolve();
    },
  };
}
