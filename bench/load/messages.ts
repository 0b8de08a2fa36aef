/** What the bench and its load processes say to each other. */

import type { ProtocolName } from "../types.js";

/** The connections of all load processes; each opens its share. */
export interface LoadPlan {
  readonly protocol: ProtocolName;
  /** Subscribers and publishers go round these in turn. */
  readonly subscriberUrls: readonly string[];
  readonly publisherUrls: readonly string[];
  readonly channelPrefix: string;
  readonly channels: number;
  readonly subscribersPerChannel: number;
  readonly publishers: number;
  /** Connections opened a second, by all processes; 0: as fast as they are taken. */
  readonly connectRate: number;
  /** Connections that one process may be opening at a time. */
  readonly connecting: number;
  readonly payloadBytes: number;
  /** Publications ask for a reply. */
  readonly acknowledged: boolean;
  readonly token?: string;
  /** Of the app, where the protocol signs subscriptions. */
  readonly secret?: string;
  /** Subscribers subscribe to nothing until they are told to join. */
  readonly joinsLater?: true;
  /** Addresses 127.0.0.1 and up that connections are made from; one has 28,000 ports. */
  readonly sources: number;
  /** Further headers of the upgrade request. */
  readonly headers: Readonly<Record<string, string>>;
}

export type Traffic =
  /** So many messages a second by all processes, sent when they are due. */
  | { readonly kind: "rate"; readonly messagesPerSecond: number }
  /** Without acknowledgement, as fast as delivered: so many messages of a stream are under way. */
  | { readonly kind: "window"; readonly messages: number }
  /** As fast as acknowledged: so many commands of a publisher are unanswered. */
  | { readonly kind: "acknowledged"; readonly commands: number; readonly command: "publish" | "presence" };

export type ToLoad =
  | { readonly kind: "open"; readonly plan: LoadPlan; readonly process: number; readonly processes: number }
  | { readonly kind: "start"; readonly traffic: Traffic }
  /** The measured part begins: counters and histograms start anew. */
  | { readonly kind: "mark" }
  | { readonly kind: "stop" }
  /** Waits for what is under way; `sent` by stream. */
  | {
      readonly kind: "settle";
      readonly sent: readonly (readonly [number, number])[];
      /** Nothing more comes once nothing has for so long. */
      readonly quietMs: number;
      /** Waits no longer than this for what still comes. */
      readonly mostMs: number;
    }
  /** Cuts every subscriber and connects it again; waits at most so long for the last. */
  | { readonly kind: "storm"; readonly deadlineMs: number }
  | ({ readonly kind: "join" } & Joins)
  | { readonly kind: "close" };

/** Each subscriber joins so many channels, in which it meets the others of its channel; each number is a channel's own. */
export interface Joins {
  readonly first: number;
  readonly count: number;
}

export interface LoadCounters {
  readonly live: number;
  readonly sent: number;
  readonly deliveries: number;
  readonly replies: number;
}

export type FromLoad =
  | { readonly kind: "loaded" }
  | { readonly kind: "opened"; readonly opened: OpenedReport }
  | { readonly kind: "progress"; readonly counters: LoadCounters }
  | { readonly kind: "stopped"; readonly stopped: StoppedReport }
  | { readonly kind: "settled"; readonly settled: SettledReport }
  | { readonly kind: "stormed"; readonly opened: OpenedReport }
  | { readonly kind: "joined"; readonly joined: JoinedReport }
  | { readonly kind: "closed" }
  | { readonly kind: "failed"; readonly message: string };

export interface OpenedReport {
  readonly connections: number;
  readonly failed: number;
  /** From the first connect to the last subscription's answer. */
  readonly seconds: number;
  /** Milliseconds after the begin at which each connection was live, ascending; for a storm only. */
  readonly liveAtMs: readonly number[];
  readonly cpuSeconds: number;
  readonly errors: readonly string[];
}

export interface JoinedReport {
  readonly joined: number;
  /** Or without an answer. */
  readonly refused: number;
  readonly seconds: number;
  readonly errors: readonly string[];
}

export interface StoppedReport {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly sent: number;
  readonly deliveries: number;
  readonly replies: number;
  /** Messages that were due and not sent, as the server did not take them. */
  readonly behind: number;
  /** By stream, since it began. */
  readonly sentByStream: readonly (readonly [number, number])[];
}

export interface SettledReport {
  /** Deliveries that did not come. */
  readonly lost: number;
  /** Deliveries that had not come yet when the wait ended. */
  readonly late: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly misdelivered: number;
  readonly closed: number;
  readonly errors: readonly string[];
  /** Of what was received since the mark; HDR, compressed, in base64. */
  readonly latency: string;
}
