/** Options that each app has too: at the top level they are those of the app `main`. And how apps and their keys are named. */

import { OTHER_APPS } from "../core/app.js";
import { integer, list, oneOf, optional, text, url } from "./kinds.js";
import { option } from "./option.js";

/** How the tokens of clients are checked. */
export const tokenOptions = {
  jwtAlgorithm: option({
    kind: oneOf(["HS256", "RS256", "ES256"]),
    group: "Who may connect",
    default: "HS256",
    description: "the one algorithm that tokens may be signed with",
    reason: "pinned, so that a token cannot choose how it is checked",
  }),
  jwtSecret: option({
    // RFC 7518 3.2 asks for a key as long as the hash.
    kind: optional(
      text(
        "at least 32 bytes of text, such as openssl rand -hex 32 makes",
        (value) => Buffer.byteLength(value) >= 32,
      ),
    ),
    group: "Who may connect",
    default: undefined,
    defaultText: "none",
    description: "secret that tokens are signed with (HS256)",
    reason: "a built-in secret would be everybody's",
    secret: "value",
  }),
  jwtPublicKeyFile: option({
    kind: optional(text("the path of a file", (value) => value.length > 0, "<file>")),
    group: "Who may connect",
    default: undefined,
    defaultText: "none",
    description: "PEM file with the public key for tokens (RS256, ES256)",
    reason: "as for the secret",
  }),
  jwtJwksUrl: option({
    kind: optional(url("https", "http")),
    group: "Who may connect",
    default: undefined,
    defaultText: "none",
    description: "URL of the public keys for tokens (RS256, ES256)",
    reason: "as for the secret",
  }),
  jwtAudience: option({
    kind: optional(text()),
    group: "Who may connect",
    default: undefined,
    defaultText: "not checked",
    description: "what the tokens' aud must be or contain",
    reason: "only the application knows it",
  }),
  jwtIssuer: option({
    kind: optional(text()),
    group: "Who may connect",
    default: undefined,
    defaultText: "not checked",
    description: "what the tokens' iss must be",
    reason: "only the application knows it",
  }),
  jwtClockToleranceMs: option({
    kind: integer(0, 600_000),
    group: "Who may connect",
    default: 30_000,
    unit: "ms",
    description: "how far the clocks of the tokens' issuer and this node may differ, for exp and nbf",
    reason: "clocks without NTP are seconds off; a token is good for as much longer than it says",
  }),
};

export const apiKeys = option({
  kind: list("keys", (key) => (/^[!-~]+$/.test(key) ? undefined : "a key is printable ASCII without spaces")),
  group: "Server API and metrics",
  default: [],
  defaultText: "none",
  description: "keys that open the server API; without any it is open to whoever reaches it",
  reason: "it listens on this machine only until told otherwise",
  secret: "value",
});

const ID_CHARACTERS_MAX = 64;
const ID = new RegExp(`^[A-Za-z0-9_-]{1,${ID_CHARACTERS_MAX}}$`);

export const isAppId = (id: unknown): id is string => typeof id === "string" && ID.test(id);
export const appId = text(
  `an id is 1 to ${ID_CHARACTERS_MAX} of A-Z a-z 0-9 _ -, and not ${OTHER_APPS}, which metrics call many apps together`,
  (id) => isAppId(id) && id !== OTHER_APPS,
  "<id>",
);
export const pairKey = text("a key is 1 to 128 of A-Z a-z 0-9 _ -", (key) =>
  /^[A-Za-z0-9_-]{1,128}$/.test(key),
);
export const pairSecret = text(
  "a secret is 16 to 256 printable ASCII characters without spaces, the same for back ends (starling app create makes one)",
  (secret) => /^[!-~]{16,256}$/.test(secret),
);
