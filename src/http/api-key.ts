import * as crypto from "node:crypto";
import type { HttpRequest } from "../core/transport.js";
import { ApiError } from "./problem.js";

/** What a header can carry without being changed on the way. */
const KEY_SHAPE = /^[\x21-\x7e]+$/;

/** In one call where Node.js has it (20.12), which takes a third of the time. */
const digest: (key: string) => Buffer =
  typeof crypto.hash === "function"
    ? (key) => crypto.hash("sha256", key, "buffer")
    : (key) => crypto.createHash("sha256").update(key).digest();

/** The API keys of each application, by its id. */
export type ApiKeys = ReadonlyMap<string, readonly string[]>;

/**
 * Checks `Authorization: Bearer KEY` or `X-API-Key: KEY`. The digests are
 * compared, as they are of one length and no timing tells how much was right.
 * @returns tells whose key a request has; undefined: there are no keys, and everyone is let in
 * @throws Error for a key that no header could carry, or that two applications have
 */
export function createKeyCheck(keys: ApiKeys): (request: HttpRequest) => string | undefined {
  const owners = new Map<string, string>();
  for (const [app, list] of keys) {
    for (const [index, key] of list.entries()) {
      const which = `API key ${index + 1} of ${list.length}${keys.size > 1 ? ` of app ${app}` : ""}`;
      if (!KEY_SHAPE.test(key)) throw new Error(`${which} is empty or not printable ASCII without spaces`);
      const owner = owners.get(key) ?? app;
      if (owner !== app)
        throw new Error(`${which} is also a key of app ${owner}: a key must belong to one app`);
      owners.set(key, app);
    }
  }
  const known = [...owners].map(([key, app]) => ({ digest: digest(key), app }));

  function ownerOf(key: string): string | undefined {
    const given = digest(key);
    let owner: string | undefined;
    for (const { digest: wanted, app } of known) if (crypto.timingSafeEqual(given, wanted)) owner = app;
    return owner;
  }

  return (request) => {
    if (known.length === 0) return undefined;
    const bearer = /^bearer +(\S+) *$/i.exec(request.header("authorization") ?? "")?.[1];
    const given = [bearer, request.header("x-api-key")].filter((key) => key !== undefined && key !== "");
    for (const key of given) {
      const owner = ownerOf(key!);
      if (owner !== undefined) return owner;
    }
    if (given.length === 0) {
      throw new ApiError(
        "unauthorized",
        "an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY",
        {
          "www-authenticate": 'Bearer realm="starling"',
        },
      );
    }
    throw new ApiError("unauthorized", "the API key is not valid on this node", {
      "www-authenticate": 'Bearer realm="starling", error="invalid_token"',
    });
  };
}
