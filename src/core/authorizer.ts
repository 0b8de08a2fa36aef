/** What core asks about who a client is and what it may do. auth/ implements it. */

/** What a client proved to be. One frozen object serves every anonymous connection. */
export interface Identity {
  /** null: anonymous. */
  readonly userId: string | null;
  /** Unix seconds, as the token says; undefined: does not expire. */
  readonly expiresAt: number | undefined;
  /** JSON of what it shows of itself where it is a member, as encodeMemberInfo makes it. */
  readonly info?: string | undefined;
  maySubscribe(channel: string): boolean;
  mayPublish(channel: string): boolean;
}

export interface Credentials {
  readonly app: string;
  readonly token: string | undefined;
}

export interface Authorizer {
  /** Whether a connection must authenticate before it may do anything. */
  readonly required: boolean;
  /** A connection outlives its token by this much, for as long as the token would be accepted. */
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
  /** Who a connection is while it has not authenticated; undefined where it must. */
  readonly anonymous: Identity | undefined;
}

/** @returns unix seconds at which a connection ends that has this identity; undefined: never */
export function endOf(
  { clockToleranceSeconds }: Authorizer,
  identity: Identity | undefined,
): number | undefined {
  const expiresAt = identity?.expiresAt;
  return expiresAt === undefined ? undefined : expiresAt + clockToleranceSeconds;
}
