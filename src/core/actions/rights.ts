/** Asking for rights, and what is made sure of once they were given. */

import {
  checkMayPublish,
  checkMaySubscribe,
  endOf,
  type AskedPublication,
  type Identity,
} from "../authorizer.js";
import { isServerChannel } from "../channel-name.js";
import type { Connection } from "../connection.js";
import type { EdgeContext } from "../context.js";
import { StarlingError, quote } from "../errors.js";
import { GRANT_BY_IDENTITY, Grant } from "../grant.js";
import { isSubscribed } from "./checks.js";

/** However an authorizer finds out: nobody waits for ever. Half of what the SDK waits for a reply. */
export const ANSWER_TIMEOUT_MS = 5_000;

/** @throws StarlingError unauthorized */
export function identityOf({ identity }: Connection): Identity {
  if (identity !== undefined) return identity;
  throw new StarlingError("unauthorized", "this connection is not authenticated");
}

/**
 * @param channel  whose name was checked
 * @param proof  for the authorizer, or the Grant itself where the protocol checked what the client brought
 * @returns a promise only where the authorizer answers later: `checkStands` when it did
 * @throws StarlingError unauthorized, forbidden, and what the authorizer says, at once or by the promise
 */
export function askToSubscribe(
  connection: Connection,
  channel: string,
  proof: unknown,
): Grant | Promise<Grant> {
  identityOf(connection);
  if (isServerChannel(channel)) {
    throw new StarlingError(
      "forbidden",
      `channel ${quote(channel)} is reserved for the server: clients cannot subscribe to it`,
    );
  }
  if (proof !== undefined && proof instanceof Grant) return proof;
  const answer = connection.app.authorizer.subscribe(connection, channel, proof);
  return answer === GRANT_BY_IDENTITY || answer instanceof Grant
    ? answer
    : inTime(answer, "subscribe", channel);
}

/** As askToSubscribe. Of each publication: to ask `instanceof` of undefined would cost it 60 ns. */
export function askToPublish(
  connection: Connection,
  channel: string,
  proof: unknown,
  publication: AskedPublication,
): Grant | Promise<Grant> {
  if (proof !== undefined && proof instanceof Grant) return proof;
  const answer = connection.app.authorizer.publish(connection, channel, proof, publication);
  return answer === GRANT_BY_IDENTITY || answer instanceof Grant
    ? answer
    : inTime(answer, "publish", channel);
}

function inTime(answer: Promise<Grant>, verb: string, channel: string): Promise<Grant> {
  return new Promise((resolve, reject) => {
    const late = (): void => {
      const right = `the right to ${verb} to channel ${quote(channel)}`;
      reject(
        new StarlingError(
          "unavailable",
          `${right} was not decided within ${ANSWER_TIMEOUT_MS} ms: try again`,
        ),
      );
    };
    const timer = setTimeout(late, ANSWER_TIMEOUT_MS);
    const checked = Promise.resolve(answer).then((grant) => {
      if (!(grant instanceof Grant))
        throw new TypeError(`an authorizer answered ${quote(grant)}, not a Grant`);
      return grant;
    });
    void checked.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/**
 * That a right was given is not enough: it may be over, or its identity's, which may be another by now.
 * @throws StarlingError unauthorized, token_expired, forbidden
 */
export function checkStands(connection: Connection, channel: string, grant: Grant): void {
  const identity = identityOf(connection);
  if (grant.byIdentity) checkMaySubscribe(identity, channel);
  checkNotOver(connection, channel, grant);
}

/** As checkStands, of a right to publish. */
export function checkStandsToPublish(connection: Connection, channel: string, grant: Grant): void {
  const identity = identityOf(connection);
  if (grant.byIdentity) checkMayPublish(identity, channel);
  checkNotOver(connection, channel, grant);
  if (grant.narrowed?.publish === false) throw mayNotPublish(channel);
}

export function mayNotPublish(channel: string): StarlingError {
  return new StarlingError("forbidden", `the right to channel ${quote(channel)} does not include publishing`);
}

function checkNotOver({ app }: Connection, channel: string, grant: Grant): void {
  const end = endOf(app.authorizer, grant);
  if (end === undefined || end > Date.now() / 1000) return;
  const at = new Date(grant.expiresAt! * 1000).toISOString();
  throw new StarlingError(
    "token_expired",
    `the right to channel ${quote(channel)} expired at ${at}: get a fresh one`,
  );
}

/**
 * Who subscribes to a channel may read it. Anyone else is asked for as for a subscription.
 * @returns undefined: it may; else once this resolves
 * @throws StarlingError as askToSubscribe
 */
export function askToRead(
  edge: EdgeContext,
  connection: Connection,
  channel: string,
): Promise<void> | undefined {
  identityOf(connection);
  if (isSubscribed(edge, connection, channel)) return undefined;
  const grant = askToSubscribe(connection, channel, undefined);
  if (grant === GRANT_BY_IDENTITY) return undefined;
  if (grant instanceof Promise) return grant.then((granted) => checkStands(connection, channel, granted));
  checkStands(connection, channel, grant);
  return undefined;
}
