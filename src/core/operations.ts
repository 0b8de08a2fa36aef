/** What an application may do to the fleet from outside: the server API's side of core. */

import { CLOSE_CODES, StarlingError } from "../protocol/errors.js";
import type { Payload, Position, Tags } from "../protocol/messages.js";
import type { HistoryPage, HistoryQuery, PublishRequest } from "./broker.js";
import { channelKey } from "./channel.js";
import { holeError, notEnabled, scopedMessageId } from "./command-checks.js";
import type { ControlAnswer, ControlCommand, Target } from "./control.js";
import type { Edge } from "./edge.js";
import type { PresenceCounts, PresencePage } from "./presence.js";
import type { ConnectionRecord, Totals } from "./registry.js";

/** Publishes from the server: no sender, any channel. */
export interface PublishInput {
  readonly app: string;
  readonly channel: string;
  readonly payload: Payload;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  /** Makes a repetition once, where the channel keeps history. At most 64 characters. */
  readonly messageId?: string | undefined;
}

/** What of a channel's history is asked for; HistoryQuery says how it is read. */
export type HistoryRange = Omit<HistoryQuery, "rule" | "peek">;

/** `missing`: nodes that did not say in time that it is done and recorded. */
export interface Told {
  readonly missing: readonly string[];
}

export class Operations {
  readonly #edge: Edge;

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  /** Queues in this turn. @throws StarlingError bad_request, unavailable, unknown */
  publish(input: PublishInput): Promise<Position | undefined> {
    const { history } = this.#edge.rulesOf(input.channel);
    if (history !== undefined && input.exclude !== undefined) return Promise.reject(holeError(input.channel));
    return new Promise((resolve, reject) => {
      const request: PublishRequest = {
        key: channelKey(input.app, input.channel),
        payload: input.payload,
        from: undefined,
        event: input.event,
        tags: input.tags,
        exclude: input.exclude,
        history,
        messageId: input.messageId === undefined ? undefined : scopedMessageId("api", "", input.messageId),
        settle: (failure: StarlingError | undefined, position: Position | undefined) => {
          if (failure === undefined) resolve(position);
          else reject(failure);
        },
      };
      this.#edge.broker.publish(request);
    });
  }

  async channels(query: { app: string; prefix: string; limit: number }): Promise<{
    channels: { channel: string; subscribers: number }[];
    missing: readonly string[];
  }> {
    const { answers, missing } = await this.#edge.control.ask({ kind: "channels", ...query });
    const counts = sumCounts(answers.map(({ answer }) => answer));
    const channels = [...counts].map(([channel, subscribers]) => ({ channel, subscribers }));
    channels.sort((a, b) => (a.channel < b.channel ? -1 : 1));
    return { channels: channels.slice(0, query.limit), missing };
  }

  async channelSubscribers(query: { app: string; channel: string }): Promise<{
    subscribers: number;
    missing: readonly string[];
  }> {
    // In name order the channel itself is the first that starts with its name.
    const { app, channel } = query;
    const { answers, missing } = await this.#edge.control.ask({
      kind: "channels",
      app,
      prefix: channel,
      limit: 1,
    });
    return { subscribers: sumCounts(answers.map(({ answer }) => answer)).get(channel) ?? 0, missing };
  }

  /** @throws StarlingError not_enabled, unavailable, unknown */
  async history(app: string, channel: string, range: HistoryRange): Promise<HistoryPage> {
    const rule = this.#edge.rulesOf(channel).history;
    if (rule === undefined) throw notEnabled(channel, "history");
    return this.#edge.broker.history(channelKey(app, channel), { rule, ...range, peek: true });
  }

  /** @throws StarlingError not_enabled, unavailable, unknown */
  async presence(app: string, channel: string, limit: number): Promise<PresencePage> {
    this.#checkPresence(channel);
    return this.#edge.presence.members(channelKey(app, channel), limit);
  }

  /** @throws StarlingError not_enabled, unavailable, unknown */
  async presenceStats(app: string, channel: string): Promise<PresenceCounts> {
    this.#checkPresence(channel);
    return this.#edge.presence.counts(channelKey(app, channel));
  }

  #checkPresence(channel: string): void {
    if (!this.#edge.rulesOf(channel).presence) throw notEnabled(channel, "presence");
  }

  async userConnections(
    app: string,
    user: string,
  ): Promise<{ connections: (ConnectionRecord & { node: string })[]; missing: readonly string[] }> {
    const { answers, missing } = await this.#edge.control.ask({ kind: "connections", app, user });
    const connections = answers.flatMap(({ node, answer }) =>
      answer.kind === "connections" ? answer.connections.map((record) => ({ ...record, node })) : [],
    );
    return { connections, missing };
  }

  disconnectUser(
    app: string,
    user: string,
    options: { code?: number | undefined; reason?: string | undefined },
  ): Promise<Told> {
    return this.#tell({
      kind: "disconnect",
      app,
      target: { user },
      code: options.code ?? CLOSE_CODES.disconnected.code,
      reason: options.reason ?? "disconnected",
    });
  }

  unsubscribe(app: string, target: Target, channel: string): Promise<Told> {
    return this.#tell({ kind: "unsubscribe", app, target, channel });
  }

  permit(
    app: string,
    target: Target,
    rights: { channels?: readonly string[] | undefined; publish?: readonly string[] | undefined },
  ): Promise<Told> {
    return this.#tell({ kind: "permit", app, target, ...rights });
  }

  /**
   * To every node. Until its effect is recorded a node that is killed would leave what was taken away to whoever
   * resumes the session.
   * @throws StarlingError unavailable, unknown
   */
  async #tell(command: ControlCommand): Promise<Told> {
    const { control } = this.#edge;
    await control.command(command);
    try {
      const { missing } = await control.ask({ kind: "recorded" });
      return { missing };
    } catch (error) {
      const message = "the nodes were told, and could not be asked whether it is done: tell them again";
      throw new StarlingError("unknown", message, { cause: error });
    }
  }

  totals(): Promise<Totals> {
    return this.#edge.registry.totals();
  }

  ready(): { ready: boolean; reasons: readonly string[] } {
    const reasons = this.#edge.notReadyReasons();
    return { ready: reasons.length === 0, reasons };
  }
}

function sumCounts(answers: readonly ControlAnswer[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const answer of answers) {
    if (answer.kind !== "channels") continue;
    for (const [channel, count] of Object.entries(answer.counts)) {
      counts.set(channel, (counts.get(channel) ?? 0) + count);
    }
  }
  return counts;
}
