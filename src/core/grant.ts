/** A right to one channel, as an authorizer answers it or a protocol makes it out itself, and what goes with it. */

import { StarlingError } from "./errors.js";
import { MemberInfoError, checkMemberInfo } from "./member-info.js";

/**
 * What a subscription does not have of what its channel's rules allow. Rules are never widened. Not among them is what
 * all subscribers of a channel share by its topics: joins and leaves, history, what becomes of slow readers.
 */
export interface NarrowedRules {
  /** It is no member: not counted, not listed, its coming and going not told. It may still read who is there. */
  readonly presence?: false | undefined;
  /** A position that it gives recovers nothing. */
  readonly recovery?: false | undefined;
  /** It does not get the last publication at once. */
  readonly replayLast?: false | undefined;
  /** As long as it subscribes by this grant the connection may not publish to the channel. */
  readonly publish?: false | undefined;
}

export interface GrantFields {
  /**
   * true: it is the identity's right, and ends when the connection gets an identity that does not cover the channel.
   * false, which is the default: it stands by its own proof until it expires or is revoked.
   */
  readonly byIdentity?: boolean | undefined;
  /** Who the member is in this channel, in place of its identity's user: then `info` is all that it shows. */
  readonly user?: string | undefined;
  /** Whether that id was given as a number, and is told as one by protocols that tell the difference. */
  readonly userIsNumber?: boolean | undefined;
  /** JSON of what the member shows of itself in this channel, in place of its identity's: one line. */
  readonly info?: string | undefined;
  /** Unix seconds at which the right ends, give or take the authorizer's clock tolerance; undefined: it does not. */
  readonly expiresAt?: number | undefined;
  readonly narrowed?: NarrowedRules | undefined;
}

/** The year 5138. A time after it is one in milliseconds. */
const SECONDS_MAX = 1e11;

export class Grant {
  readonly byIdentity: boolean;
  readonly user: string | undefined;
  readonly userIsNumber: boolean;
  readonly info: string | undefined;
  readonly expiresAt: number | undefined;
  readonly narrowed: NarrowedRules | undefined;

  /** @throws StarlingError internal: what an application answered cannot be taken, and whoever asked is told so */
  constructor(fields: GrantFields = {}) {
    const { byIdentity = false, user, userIsNumber = false, info, expiresAt, narrowed } = fields;
    if (info !== undefined) checkInfo(info);
    if (expiresAt !== undefined && !(expiresAt >= 0 && expiresAt <= SECONDS_MAX)) {
      throw badGrant(`its expiry ${String(expiresAt)} is not a time in unix seconds`);
    }
    this.byIdentity = byIdentity;
    this.user = user;
    this.userIsNumber = userIsNumber;
    this.info = info;
    this.expiresAt = expiresAt;
    this.narrowed = narrowed;
  }
}

/** What needs no more to be said of: one for all, and nothing is kept of it. */
export const GRANT_BY_IDENTITY = Object.freeze(new Grant({ byIdentity: true }));

function badGrant(problem: string): StarlingError {
  return new StarlingError(
    "internal",
    `the right to this channel was given in a form that is not valid: ${problem}`,
  );
}

function checkInfo(info: unknown): void {
  if (typeof info !== "string") throw badGrant(`its info is a ${typeof info}, JSON text is expected`);
  try {
    checkMemberInfo(info);
  } catch (error) {
    if (!(error instanceof MemberInfoError)) throw error;
    throw badGrant(`its info ${error.message}`);
  }
}
