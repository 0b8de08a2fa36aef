/** What an application may do to the fleet from outside: the server API's side of core. */

import { StarlingError, quote } from "./errors.js";
import type { Payload } from "../encoding/payload.js";
import type { Position, Tags } from "./publication.js";
import type { HistoryPage, HistoryQuery, PublishRequest } from "./broker.js";
import type { App } from "./app.js";
import { holeError, scopedMessageId } from "./actions/publish.js";
import { userOfChannel } from "./channel-name.js";
import { notEnabled } from "./actions/checks.js";
import type { ControlAnswer, ControlCommand, Target } from "./control.js";
import type { Edge } from "./edge.js";
import type { PresenceCounts, PresencePage } from "./presence.js";
import { askSubscribers } from "./subscriber-counts.js";
import type { ConnectionRecord, Totals } from "./registry.js";

/** Publishes from the server: no sender, any channel. */
export interface PublishInput {
  readonly app: string;
  readonly channel: string;
  readonly payload: Payload;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
  readonly exclude: string | undefined;
  /**
   * What `exclude` means where the channel keeps history. true: a connection whose client counts offsets gets it all the
   * same; else it is refused, as that client would miss one.
   */
  readonly excludeWithHistory?: boolean | undefined;
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

  #app(id: string): App {
    const app = this.#edge.apps.get(id);
    if (app === undefined) throw new StarlingError("bad_request", `unknown app ${quote(id)}`);
    return app;
  }

  /** Queues in this turn. @throws StarlingError bad_request, unavailable, outcome_unknown */
  publish(input: PublishInput): Promise<Position | undefined> {
    const app = this.#app(input.app);
    const { history } = app.rulesOf(input.channel);
    if (history !== undefined && input.exclude !== undefined && input.excludeWithHistory !== true)
      return Promise.reject(holeError(input.channel, `"exclude"`));
    app.counts.apiPublications++;
    return new Promise((resolve, reject) => {
      const request: PublishRequest = {
        key: app.keyOf(input.channel),
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

  /** Of each of these channels, over the nodes that answered: one question for all. */
  async subscriberCounts(
    app: string,
    channels: readonly string[],
  ): Promise<{ counts: readonly number[]; missing: readonly string[] }> {
    const found = await askSubscribers(this.#edge.control, app, channels);
    const [channel] = channels;
    if (found.missing.length === 0 || channels.length !== 1 || userOfChannel(channel!) !== undefined)
      return found;
    // Nodes of an older version do not know the question, but one about a single channel.
    const { subscribers, missing } = await this.channelSubscribers({ app, channel: channel! });
    return { counts: [subscribers], missing };
  }

  /** @throws StarlingError not_enabled, unavailable, outcome_unknown */
  async history(appId: string, channel: string, range: HistoryRange): Promise<HistoryPage> {
    const app = this.#app(appId);
    const rule = app.rulesOf(channel).history;
    if (rule === undefined) throw notEnabled(channel, "history");
    return this.#edge.broker.history(app.keyOf(channel), { rule, ...range, peek: true });
  }

  /** @throws StarlingError not_enabled, unavailable, outcome_unknown */
  async presence(appId: string, channel: string, limit: number): Promise<PresencePage> {
    const app = this.#app(appId);
    checkPresence(app, channel);
    return this.#edge.presence.members(app.keyOf(channel), limit);
  }

  /** @throws StarlingError not_enabled, unavailable, outcome_unknown */
  async presenceStats(appId: string, channel: string): Promise<PresenceCounts> {
    const app = this.#app(appId);
    checkPresence(app, channel);
    return this.#edge.presence.counts(app.keyOf(channel));
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

  disconnectUser(app: string, user: string, options: { reason?: string | undefined }): Promise<Told> {
    return this.#tell({
      kind: "disconnect",
      app,
      target: { user },
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
   * @throws StarlingError unavailable, outcome_unknown
   */
  async #tell(command: ControlCommand): Promise<Told> {
    const { control } = this.#edge;
    await control.command(command);
    try {
      const { missing } = await control.ask({ kind: "recorded" });
      return { missing };
    } catch (error) {
      const message =
        "the command was sent to the nodes, but their answers are missing: the outcome is unknown; send it again";
      throw new StarlingError("outcome_unknown", message, { cause: error });
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

function checkPresence(app: App, channel: string): void {
  if (!app.rulesOf(channel).presence) throw notEnabled(channel, "presence");
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
