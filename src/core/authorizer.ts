/** What core asks about who a client is and what it may do. auth/ implements it. */

import type { Payload } from "../encoding/payload.js";
import { isGuardedChannel } from "./channel-name.js";
import type { Closing } from "./closing.js";
import { StarlingError, quote } from "./errors.js";
import { GRANT_BY_IDENTITY, type Grant } from "./grant.js";
import type { Tags } from "./publication.js";

/** What a client proved to be. One frozen object serves every anonymous connection. */
export interface Identity {
  /** null: anonymous. */
  readonly userId: string | null;
  /** Unix seconds, as the token says; undefined: does not expire. */
  readonly expiresAt: number | undefined;
  /** With what its connection is closed once it expired; undefined: token_expired. */
  readonly atEnd?: Pick<Closing, "reason" | "message"> | undefined;
  /** JSON of what it shows of itself where it is a member, as encodeMemberInfo makes it. */
  readonly info?: string | undefined;
  maySubscribe(channel: string): boolean;
  mayPublish(channel: string): boolean;
}

export interface Credentials {
  readonly app: string;
  readonly token: string | undefined;
}

/** Who asks for a right. Every connection is one. */
export interface Client {
  /** Of the connection. */
  readonly id: string;
  readonly userId: string | null;
  readonly identity: Identity | undefined;
  readonly app: { readonly id: string };
}

/** What is to be published. */
export interface AskedPublication {
  /** Valid during the call: who answers later copies what it needs. */
  readonly content: Payload;
  readonly event: string | undefined;
  readonly tags: Tags | undefined;
}

/**
 * Rights to one channel: its name was checked, and it is none of the server's. The client has an identity.
 *
 * An answer at once takes effect at once. A promise holds back the client's later frames; one that takes longer than
 * ANSWER_TIMEOUT_MS (actions/rights.ts) is given up. A StarlingError, thrown or by the promise, is told to the client;
 * anything else, an answer that is no Grant too, is a fault of ours.
 */
export interface Rights {
  /**
   * Asked for each subscription, also by who is subscribed already; for the channels of a session that is resumed; and
   * when who is no subscriber reads history or presence.
   * @param proof  what the protocol brought, as the protocol has it: a signature, a token; undefined: none
   */
  subscribe(client: Client, channel: string, proof: unknown): Grant | Promise<Grant>;
  /** Of the grant counts whose the right is, whether it has expired, and that its rules are not narrowed to no publishing. */
  publish(
    client: Client,
    channel: string,
    proof: unknown,
    publication: AskedPublication,
  ): Grant | Promise<Grant>;
}

export interface Authorizer extends Rights {
  /** Whether a connection must authenticate before it may do anything. */
  readonly required: boolean;
  /** A connection outlives its token by this much, for as long as the token would be accepted. A grant likewise. */
  readonly clockToleranceSeconds: number;
  /** @throws StarlingError token_invalid, token_expired, token_not_active, unauthorized, unavailable */
  authenticate(credentials: Credentials): Promise<Identity>;
  /** The same identity with other rights, as the control command `permit` asks. */
  permit(
    identity: Identity,
    rights: {
      readonly channels?: readonly string[] | undefined;
      readonly publish?: readonly string[] | undefined;
    },
  ): Identity;
  /** Why no token lets anybody in, and what to set: for clients that bring none; not given: tokens do. */
  readonly closed?: string;
  /** Who a connection is while it has not authenticated; undefined where it must. */
  readonly anonymous: Identity | undefined;
}

/** @throws StarlingError forbidden */
export function checkMaySubscribe(identity: Identity | undefined, channel: string): void {
  if (identity?.maySubscribe(channel) !== true) throw notCovered("channels", identity, channel);
}

/** @throws StarlingError forbidden */
export function checkMayPublish(identity: Identity | undefined, channel: string): void {
  if (identity?.mayPublish(channel) !== true) throw notCovered("publish", identity, channel);
}

function notCovered(
  claim: "channels" | "publish",
  identity: Identity | undefined,
  channel: string,
): StarlingError {
  const message =
    identity?.userId === null && isGuardedChannel(channel)
      ? `channel ${quote(channel)} is not open to anonymous clients, as its name begins with private- or presence-: ` +
        `it needs a token whose "${claim}" claim covers it, or a signature`
      : `the token's "${claim}" claim does not cover channel ${quote(channel)}`;
  return new StarlingError("forbidden", message);
}

/** What the client's identity says, at once. */
export const RIGHTS_BY_IDENTITY: Rights = {
  subscribe({ identity }, channel) {
    checkMaySubscribe(identity, channel);
    return GRANT_BY_IDENTITY;
  },
  publish({ identity }, channel) {
    checkMayPublish(identity, channel);
    return GRANT_BY_IDENTITY;
  },
};

/** @returns unix seconds at which ends what an identity or a grant gives; undefined: never */
export function endOf(
  { clockToleranceSeconds }: Authorizer,
  right: { readonly expiresAt: number | undefined } | undefined,
): number | undefined {
  const expiresAt = right?.expiresAt;
  return expiresAt === undefined ? undefined : expiresAt + clockToleranceSeconds;
}
