/**
 * Where values lie in JSON text that JSON.parse accepted already. Content is cut
 * out of the body as the bytes it came in: making it anew from what was parsed
 * would round large numbers, and overflow the stack where it nests deep.
 */

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

/** The value of a key in the object that starts at `start`: the last, as JSON.parse takes it. */
export function fieldSpan(bytes: Uint8Array, start: number, name: string): Span | undefined {
  let found: Span | undefined;
  let at = skipSpace(bytes, skipSpace(bytes, start) + 1);
  while (!isCloser(bytes[at])) {
    const keyEnd = skipString(bytes, at);
    // Parsed, as a key may be spelled with escapes.
    const key = JSON.parse(
      Buffer.from(bytes.buffer, bytes.byteOffset + at, keyEnd - at).toString(),
    ) as string;
    at = skipSpace(bytes, keyEnd);
    if (bytes[at] === COLON) at = skipSpace(bytes, at + 1);
    const span = spanAt(bytes, at);
    if (key === name) found = span;
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
