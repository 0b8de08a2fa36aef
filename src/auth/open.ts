/** Apps without a key that tokens are checked with. */

import { RIGHTS_BY_IDENTITY, type Authorizer } from "../core/authorizer.js";
import { StarlingError } from "../core/errors.js";
import { PatternIdentity, permitPatterns } from "./identity.js";
import { UNGUARDED } from "./patterns.js";

/**
 * Everyone is the same anonymous identity and may use every channel but the server's (`#...`) and the guarded ones
 * (`private-...`, `presence-...`). A token is refused rather than ignored: its holder would believe to be someone.
 */
export function createOpenAuthorizer(): Authorizer {
  const anonymous = Object.freeze(new PatternIdentity(null, undefined, UNGUARDED, UNGUARDED));
  return {
    required: false,
    anonymous,
    clockToleranceSeconds: 0,
    authenticate: (credentials) =>
      credentials.token === undefined
        ? Promise.resolve(anonymous)
        : Promise.reject(
            new StarlingError("token_invalid", "this node has no key configured: connect without a token"),
          ),
    permit: permitPatterns,
    ...RIGHTS_BY_IDENTITY,
  };
}

const CLOSED =
  "this app lets no clients in by a token: it has no key to check them with, and is not open. " +
  "Set its jwtSecret, jwtPublicKeyFile or jwtJwksUrl, or its allowOpen if anyone may connect";

/** Nobody is let in but by what a protocol checks itself, such as signatures. */
export function createClosedAuthorizer(): Authorizer {
  return {
    required: true,
    closed: CLOSED,
    anonymous: undefined,
    clockToleranceSeconds: 0,
    authenticate: ({ token }) =>
      Promise.reject(new StarlingError((token ?? "") === "" ? "unauthorized" : "token_invalid", CLOSED)),
    permit: permitPatterns,
    ...RIGHTS_BY_IDENTITY,
  };
}
