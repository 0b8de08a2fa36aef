/** Query parameters as Pusher signs them. */

import { StarlingError, quote } from "../../core/errors.js";

/** Unescaped, by name in lower case; the items of an array are joined by commas. */
export type Query = ReadonlyMap<string, string>;

/** As SDKs write all but names of arrays: what it matches needs no unescaping. */
const PLAIN = /^[a-z0-9_=&.,-]*$/;

/** @throws StarlingError bad_request */
export function readQuery(query: string): Query {
  const found = new Map<string, string>();
  const plain = PLAIN.test(query);
  for (let start = 0, end: number; start < query.length; start = end + 1) {
    end = query.indexOf("&", start);
    if (end === -1) end = query.length;
    if (end === start) continue;
    const pair = query.slice(start, end);
    const at = pair.indexOf("=");
    const name = at === -1 ? pair : pair.slice(0, at);
    const value = at === -1 ? "" : pair.slice(at + 1);
    if (plain) add(found, name, value);
    else add(found, readName(name), decoded("query", value));
  }
  return found;
}

/** PHP writes an array as name[0]=a&name[1]=b, Ruby as name[]=a&name[]=b, others give a name twice. */
function add(found: Map<string, string>, name: string, value: string): void {
  const before = found.get(name);
  found.set(name, before === undefined ? value : `${before},${value}`);
}

function readName(written: string): string {
  return decoded("query", written)
    .toLowerCase()
    .replace(/\[\d*\]$/, "");
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
