import type { HttpResponse } from "../core/transport.js";

/** The same in JSON, and harmless where someone pastes it into a page. */
const HTML_ESCAPES: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

export const COMMON_HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
} as const;

export function jsonResponse(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  return jsonTextResponse(status, JSON.stringify(value), headers);
}

/** @param text JSON */
export function jsonTextResponse(
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...COMMON_HEADERS, ...headers },
    // In JSON these only stand within strings.
    body: text.replace(/[<>&\u2028\u2029]/g, (character) => HTML_ESCAPES[character]!),
  };
}
