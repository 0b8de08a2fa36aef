/** Query parameters as Pusher signs them. */

import { StarlingError, quote } from "../../core/errors.js";

/** Unescaped, by name in lower case; the items of an array are joined by commas. */
export type Query = ReadonlyMap<string, string>;

const PLAIN_NAME = /^[a-z0-9_]*$/;

/** @throws StarlingError bad_request */
export function readQuery(query: string): Query {
  const found = new Map<string, string>();
  if (query === "") return found;
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    // PHP writes an array as name[0]=a&name[1]=b, Ruby as name[]=a&name[]=b, others give a name twice.
    const written = at === -1 ? pair : pair.slice(0, at);
    const name = PLAIN_NAME.test(written)
      ? written
      : decoded("query", written)
          .toLowerCase()
          .replace(/\[\d*\]$/, "");
    const value = at === -1 ? "" : decoded("query", pair.slice(at + 1));
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before},${value}`);
  }
  return found;
}

/** @param where  it stands: in a query a plus sign is a blank @throws StarlingError bad_request */
export function decoded(where: "query" | "path", text: string): string {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(where === "query" ? text.replaceAll("+", " ") : text);
  } catch {
    throw new StarlingError(
      "bad_request",
      `the ${where} has ${quote(text)}, which is not percent-encoded UTF-8: a percent sign is written %25`,
    );
  }
}
