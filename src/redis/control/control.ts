/** Commands and questions over Redis: one channel that every node hears, and an inbox of each for answers. */

import { randomUUID } from "node:crypto";

import type {
  ControlBus,
  ControlCommand,
  ControlHandlers,
  ControlQuestion,
  NodeAnswer,
} from "../../core/control.js";
import type { Log } from "../../core/log.js";
import type { Stats } from "../../core/stats.js";
import { StarlingError } from "../../core/errors.js";
import { decodeControl, encodeControl, type ControlMessage, type Unknown } from "./control-messages.js";
import { throttle } from "../link/throttle.js";
import type { RedisLink } from "../link/link.js";
import { BUS_MESSAGE_BYTES_MAX } from "../bus/packing.js";

export interface RedisControlOptions {
  readonly link: RedisLink;
  /** How long the answers of the nodes are waited for. */
  readonly askTimeoutMs: number;
  /** Ids of the nodes that must answer: the registry's. */
  readonly nodes: () => Promise<readonly string[]>;
  readonly stats: Stats;
  readonly log: Log;
}

/** Questions that wait at the same time. */
const PENDING_MAX = 1_000;
const SKIP_LOG_INTERVAL_MS = 1_000;

interface Pending {
  /** Nodes whose answer may still come. */
  readonly awaited: Set<string>;
  /** Nodes that have not answered what was asked: of an older version they may not know the question. */
  readonly missing: Set<string>;
  readonly answers: Map<string, NodeAnswer>;
  finish(): void;
}

export function createRedisControl(options: RedisControlOptions): ControlBus {
  return new RedisControl(options);
}

class RedisControl implements ControlBus {
  readonly #options: RedisControlOptions;
  readonly #link: RedisLink;
  readonly #pending = new Map<string, Pending>();
  readonly #reportSkipped: (error: unknown) => void;
  #handlers: ControlHandlers | undefined;
  #open = false;

  constructor(options: RedisControlOptions) {
    this.#options = options;
    this.#link = options.link;
    this.#reportSkipped = throttle(SKIP_LOG_INTERVAL_MS, (suppressed, error) => {
      options.log.warn(
        { suppressed, error: String(error) },
        "skipped a control message that could not be read",
      );
    });
  }

  async start(handlers: ControlHandlers): Promise<void> {
    this.#handlers = handlers;
    const { keys, nodeId } = this.#link;
    this.#link.subscribe(keys.control, (bytes) => this.#receive(bytes));
    this.#link.subscribe(keys.inbox(nodeId), (bytes) => this.#receive(bytes));
    await this.#link.open();
    this.#open = true;
  }

  async command(command: ControlCommand): Promise<void> {
    await this.#publish(this.#link.keys.control, { kind: "command", command });
  }

  async ask(
    question: ControlQuestion,
  ): Promise<{ answers: readonly NodeAnswer[]; missing: readonly string[] }> {
    if (this.#pending.size >= PENDING_MAX) {
      throw new StarlingError(
        "unavailable",
        `limit of pending questions to the nodes reached (${PENDING_MAX}): nothing was sent`,
      );
    }
    const id = randomUUID();
    const nodes = await this.#options.nodes();
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const pending: Pending = {
      awaited: new Set(nodes),
      missing: new Set(nodes),
      answers: new Map(),
      finish,
    };
    this.#pending.set(id, pending);
    const timer = setTimeout(finish, this.#options.askTimeoutMs);
    try {
      const ask: ControlMessage = { kind: "ask", id, node: this.#link.nodeId, question };
      await this.#publish(this.#link.keys.control, ask);
      await finished;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
    return { answers: [...pending.answers.values()], missing: [...pending.missing] };
  }

  #receive(bytes: Buffer): void {
    let message: ControlMessage;
    try {
      message = decodeControl(bytes);
    } catch (error) {
      this.#options.stats.envelopesSkipped++;
      this.#reportSkipped(error);
      return;
    }
    if (message.kind === "command") this.#handlers?.command(message.command);
    else if (message.kind === "ask") void this.#answer(message.id, message.node, message.question);
    else this.#receiveAnswer(message);
  }

  async #answer(id: string, node: string, question: ControlQuestion | Unknown): Promise<void> {
    if (this.#handlers === undefined) return;
    try {
      const answer = question.kind === "unknown" ? question : await this.#handlers.answer(question);
      const message: ControlMessage = { kind: "answer", id, node: this.#link.nodeId, answer };
      await this.#publish(this.#link.keys.inbox(node), message);
    } catch (error) {
      // A node that stops is no longer asked: who did so knows that it left.
      if (this.#open) {
        this.#options.log.warn(
          { err: error, asker: node, question: question.kind },
          "a question of another node could not be answered",
        );
      }
    }
  }

  #receiveAnswer({ id, node, answer }: Extract<ControlMessage, { kind: "answer" }>): void {
    // Unknown: it came too late, or was never asked.
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    pending.awaited.delete(node);
    if (answer.kind !== "unknown") {
      pending.missing.delete(node);
      pending.answers.set(node, { node, answer });
    }
    if (pending.awaited.size === 0) pending.finish();
  }

  async #publish(channel: string, message: ControlMessage): Promise<void> {
    const bytes = encodeControl(message);
    if (bytes.length > BUS_MESSAGE_BYTES_MAX) {
      throw new StarlingError(
        "too_large",
        `the control message has ${bytes.length} bytes, the bus carries at most ${BUS_MESSAGE_BYTES_MAX}`,
      );
    }
    const [failure] = await this.#link.publish([{ channel, bytes }]);
    if (failure !== undefined) throw failure;
  }

  async stop(): Promise<void> {
    for (const pending of this.#pending.values()) pending.finish();
    if (!this.#open) return;
    this.#open = false;
    await this.#link.close();
  }
}
