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
