/** What a client brings to prove a right: `auth`, which is `key:signature`. */

import type { App } from "../../core/app.js";
import { quote } from "../../core/errors.js";
import { checkSignature } from "./signature.js";

/**
 * Counts it with the app.
 * @param text  that must have been signed
 * @returns what is wrong with it, for people; undefined: it is valid
 */
export function checkAuth(app: App, auth: string, text: string): string | undefined {
  const problem = problemOf(app, auth, text);
  if (problem === undefined) app.counts.signaturesValid++;
  else app.counts.signaturesRefused++;
  return problem;
}

function problemOf(app: App, auth: string, text: string): string | undefined {
  const colon = auth.indexOf(":");
  if (colon === -1) return `"auth" must be <key>:<signature>, not ${quote(auth)}`;
  const key = auth.slice(0, colon);
  switch (checkSignature(app, key, text, auth.slice(colon + 1))) {
    case "valid":
      return undefined;
    case "unknown_key":
      return `"auth" begins with ${quote(key)}, which is no key of this app`;
    case "wrong":
      return `the signature in "auth" is wrong: expected the HMAC-SHA256, in lower-case hex, of ${shown(text)} by the secret of ${quote(key)}`;
  }
}

/** Most of what is signed is short: what a client made long is not sent back to it. */
const SHOWN_MAX = 400;

/** What had to be signed, for people. */
export function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
