/**
 * What nodes say to each other besides publications: commands that act on users
 * and connections wherever they are, and questions that every node answers.
 */

import type { ConnectionRecord } from "./registry.js";

/** Which connections a command means: a user's everywhere, or one. */
export type Target =
  | { readonly user: string; readonly connection?: undefined }
  | { readonly user?: undefined; readonly connection: string };

export type ControlCommand =
  | {
      readonly kind: "disconnect";
      readonly app: string;
      readonly target: Target;
      /** For people. */
      readonly reason: string;
    }
  /** A session went to another connection: the one that had it is closed. */
  | { readonly kind: "supersede"; readonly connection: string }
  | {
      readonly kind: "unsubscribe";
      readonly app: string;
      readonly target: Target;
      readonly channel: string;
    }
  /** How many subscribers these channels have, over all nodes: for those of their subscribers who are told. */
  | {
      readonly kind: "subscribers";
      readonly app: string;
      readonly channels: readonly string[];
      /** In the order of the channels. */
      readonly counts: readonly number[];
    }
  /** A node is gone, and its subscribers with it: whoever tells subscribers how many they are asks anew. */
  | { readonly kind: "recount" }
  | {
      readonly kind: "permit";
      readonly app: string;
      readonly target: Target;
      /** Patterns; undefined leaves what it was. */
      readonly channels?: readonly string[] | undefined;
      readonly publish?: readonly string[] | undefined;
    };

export type ControlQuestion =
  | { readonly kind: "channels"; readonly app: string; readonly prefix: string; readonly limit: number }
  /** How many subscribers each of these channels has here; a user's channel has the user's connections. */
  | { readonly kind: "subscribers"; readonly app: string; readonly channels: readonly string[] }
  | { readonly kind: "connections"; readonly app: string; readonly user: string }
  | { readonly kind: "readiness" }
  /** Answered once what earlier commands changed is in the registry's shared record. */
  | { readonly kind: "recorded" };

/** Subscribers by channel name, the connections of a user, or whether newcomers are taken. */
export type ControlAnswer =
  | { readonly kind: "channels"; readonly counts: Readonly<Record<string, number>> }
  /** In the order of the question's channels. */
  | { readonly kind: "subscribers"; readonly counts: readonly number[] }
  | { readonly kind: "connections"; readonly connections: readonly ConnectionRecord[] }
  /** `upgradeRate`: newcomers a second; 0: no limit. */
  | { readonly kind: "readiness"; readonly ready: boolean; readonly upgradeRate: number }
  | { readonly kind: "recorded" };

export interface ControlHandlers {
  command(command: ControlCommand): void;
  /** Rejected: the question stays without an answer. */
  answer(question: ControlQuestion): ControlAnswer | Promise<ControlAnswer>;
}

export interface NodeAnswer {
  readonly node: string;
  readonly answer: ControlAnswer;
}

export interface ControlBus {
  start(handlers: ControlHandlers): Promise<void>;
  /**
   * To every node, this one too.
   * @throws StarlingError unavailable, outcome_unknown
   */
  command(command: ControlCommand): Promise<void>;
  /**
   * @returns what each living node answered in time; `missing` names those that did not
   * @throws StarlingError unavailable, outcome_unknown
   */
  ask(
    question: ControlQuestion,
  ): Promise<{ readonly answers: readonly NodeAnswer[]; readonly missing: readonly string[] }>;
  stop(): Promise<void>;
}
