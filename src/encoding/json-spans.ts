/**
 * Where values lie in JSON text that JSON.parse accepted already. Content is cut
 * out of the body as the bytes it came in: making it anew from what was parsed
 * would round large numbers, and overflow the stack where it nests deep.
 */

import { textAt } from "./text-cache.js";

export interface Span {
  readonly start: number;
  readonly end: number;
  /** How deep arrays and objects nest in it; 0 for a scalar. */
  readonly depth: number;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const LETTER_U = 0x75;

/** What a character stands for behind a backslash, but for `u`. */
const UNESCAPED = Uint8Array.from({ length: 0x80 }, (_, byte) => {
  const at = "bfnrt".indexOf(String.fromCharCode(byte));
  return at === -1 ? byte : "\b\f\n\r\t".charCodeAt(at);
});

function skipSpace(bytes: Uint8Array, at: number): number {
  while (bytes[at]! <= 0x20) at++;
  return at;
}

/** @returns the index after the closing quote */
function skipString(bytes: Uint8Array, at: number): number {
  for (at++; bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
  return at + 1;
}

function isOpener(byte: number): boolean {
  return byte === 0x7b || byte === 0x5b;
}

function isCloser(byte: number | undefined): boolean {
  return byte === 0x7d || byte === 0x5d;
}

/** The value that starts at `start`, no leading space. */
export function spanAt(bytes: Uint8Array, start: number): Span {
  let at = start;
  let open = 0;
  let depth = 0;
  do {
    const byte = bytes[at]!;
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      continue;
    }
    if (isOpener(byte)) depth = Math.max(depth, ++open);
    else if (isCloser(byte)) open--;
    else if (open === 0) return { start, end: scalarEnd(bytes, at), depth };
    at++;
  } while (open > 0);
  return { start, end: at, depth };
}

function scalarEnd(bytes: Uint8Array, at: number): number {
  while (at < bytes.length && bytes[at]! > 0x20 && bytes[at] !== COMMA && !isCloser(bytes[at])) at++;
  return at;
}

/**
 * Whether the string between the indexes, quotes included, is this name. Read only as far as it agrees with it: a frame may
 * have ten thousand keys, which to parse one by one takes 5 ms.
 */
function isKey(bytes: Uint8Array, start: number, end: number, name: string): boolean {
  let at = start + 1;
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    // Beyond ASCII a character has several bytes. Names that are looked for mostly have none of these.
    if (unit >= 0x80) return JSON.parse(textAt(bytes, start, end)) === name;
    if (bytes[at] === BACKSLASH) {
      const escaped = bytes[at + 1]!;
      const isCode = escaped === LETTER_U;
      if (unit !== (isCode ? Number(`0x${textAt(bytes, at + 2, at + 6)}`) : UNESCAPED[escaped])) return false;
      at += isCode ? 6 : 2;
    } else if (bytes[at++] !== unit) return false;
  }
  return at === end - 1;
}

/** The value of a key in the object that starts at `start`: the last, as JSON.parse takes it. */
export function fieldSpan(bytes: Uint8Array, start: number, name: string): Span | undefined {
  let found: Span | undefined;
  let at = skipSpace(bytes, skipSpace(bytes, start) + 1);
  while (!isCloser(bytes[at])) {
    const keyEnd = skipString(bytes, at);
    const isNamed = isKey(bytes, at, keyEnd, name);
    at = skipSpace(bytes, keyEnd);
    if (bytes[at] === COLON) at = skipSpace(bytes, at + 1);
    const span = spanAt(bytes, at);
    if (isNamed) found = span;
    at = skipComma(bytes, span.end);
  }
  return found;
}

/** The starts of the items of the array that starts at `start`. */
export function itemStarts(bytes: Uint8Array, start: number): number[] {
  const starts: number[] = [];
  let at = skipSpace(bytes, start + 1);
  while (!isCloser(bytes[at])) {
    starts.push(at);
    at = skipComma(bytes, spanAt(bytes, at).end);
  }
  return starts;
}

function skipComma(bytes: Uint8Array, at: number): number {
  at = skipSpace(bytes, at);
  return bytes[at] === COMMA ? skipSpace(bytes, at + 1) : at;
}
