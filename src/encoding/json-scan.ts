/**
 * Checks JSON text (RFC 8259) where it lies and finds where each value ends, so
 * that content can travel as the bytes it came in: parsing and stringifying it
 * again cost more than half of the bridge's throughput (docs: performance).
 *
 * Bytes must be valid UTF-8: uWebSockets.js checked text frames already.
 */

import { PeerError } from "./peer-error.js";

/** How deep arrays and objects may nest in content and frames. */
export const DEPTH_MAX = 64;

export class ScanError extends PeerError {
  /** Byte index of what was not expected. */
  readonly at: number;

  constructor(problem: string, at: number, hint?: string) {
    super(`${problem} at byte ${at}${hint === undefined ? "" : ` (${hint})`}`);
    this.name = "ScanError";
    this.at = at;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const VALUE = "a JSON value";
export const KEY = "a key in double quotes";

/** The closing byte that each open container waits for; reused, as scanning never nests. */
const closers = new Uint8Array(DEPTH_MAX + 1);

export function tooDeep(at: number): ScanError {
  return new ScanError(`arrays and objects nest deeper than ${DEPTH_MAX} levels`, at);
}

export function skipSpace(bytes: Uint8Array, at: number): number {
  for (;;) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at++;
  }
}

/** @returns the index after the value that starts at `at` (no leading space) */
export function skipValue(bytes: Uint8Array, at: number): number {
  let depth = 0;
  value: for (;;) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (depth === DEPTH_MAX) throw tooDeep(at);
      const closer = byte + 2;
      at = skipSpace(bytes, at + 1);
      if (bytes[at] === closer) {
        at++;
      } else {
        closers[++depth] = closer;
        if (closer === CLOSE_BRACE) at = skipKey(bytes, at);
        continue;
      }
    } else if (byte === 0x2d || isDigit(byte)) {
      at = skipNumber(bytes, at);
    } else {
      at = skipLiteral(bytes, at);
    }
    while (depth > 0) {
      at = skipSpace(bytes, at);
      const next = bytes[at];
      if (next === COMMA) {
        at = skipSpace(bytes, at + 1);
        if (closers[depth] === CLOSE_BRACE) at = skipKey(bytes, at);
        continue value;
      }
      if (next !== closers[depth]) {
        throw unexpected(bytes, at, closers[depth] === CLOSE_BRACE ? '"," or "}"' : '"," or "]"');
      }
      depth--;
      at++;
    }
    return at;
  }
}

/** Skips `"key" :` and the space after it. */
function skipKey(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== QUOTE) throw unexpected(bytes, at, KEY);
  return skipColon(bytes, skipString(bytes, at));
}

/** @returns the index of the value behind the colon */
export function skipColon(bytes: Uint8Array, at: number): number {
  at = skipSpace(bytes, at);
  if (bytes[at] !== COLON) throw unexpected(bytes, at, '":"');
  return skipSpace(bytes, at + 1);
}

/** @returns the index after the closing quote */
export function skipString(bytes: Uint8Array, at: number): number {
  const length = bytes.length;
  for (let i = at + 1; i < length; i++) {
    const byte = bytes[i]!;
    // Most text is letters, past every byte that means something: one comparison for each of them.
    if (byte > BACKSLASH) continue;
    if (byte === QUOTE) return i + 1;
    if (byte === BACKSLASH) i = skipEscape(bytes, i + 1);
    else if (byte < 0x20) throw unescapedControl(byte, i);
  }
  throw new ScanError("string without an end", at);
}

/** @returns the index of the escape's last byte */
function skipEscape(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f: // solidus
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at;
    case 0x75: // u
      for (let i = at + 1; i <= at + 4; i++) {
        if (!isHex(bytes[i])) throw new ScanError("\\u without four hex digits", at);
      }
      return at + 4;
    default:
      throw unknownEscape(bytes, at);
  }
}

function skipNumber(bytes: Uint8Array, at: number): number {
  if (bytes[at] === 0x2d) at++;
  if (bytes[at] === 0x30) at++;
  else at = skipDigits(bytes, at);
  if (bytes[at] === 0x2e) at = skipDigits(bytes, at + 1);
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    at++;
    if (bytes[at] === 0x2b || bytes[at] === 0x2d) at++;
    at = skipDigits(bytes, at);
  }
  return at;
}

function skipDigits(bytes: Uint8Array, at: number): number {
  if (!isDigit(bytes[at])) throw unexpected(bytes, at, "a digit");
  do at++;
  while (isDigit(bytes[at]));
  return at;
}

function skipLiteral(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case 0x74: // true
      if (bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65) return at + 4;
      break;
    case 0x66: // false
      if (
        bytes[at + 1] === 0x61 &&
        bytes[at + 2] === 0x6c &&
        bytes[at + 3] === 0x73 &&
        bytes[at + 4] === 0x65
      ) {
        return at + 5;
      }
      break;
    case 0x6e: // null
      if (bytes[at + 1] === 0x75 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x6c) return at + 4;
      break;
  }
  throw unexpected(bytes, at, VALUE);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66);
}

/** What stands at `at` and what was wanted there, with a hint where the slip is a common one. */
export function unexpected(bytes: Uint8Array, at: number, wanted: string): ScanError {
  return new ScanError(`expected ${wanted}, found ${found(bytes, at)}`, at, hint(bytes, at, wanted));
}

function unescapedControl(byte: number, at: number): ScanError {
  const hex = byte.toString(16).padStart(2, "0");
  return new ScanError(`control character 0x${hex} in a string`, at, `write it as \\u00${hex}`);
}

function unknownEscape(bytes: Uint8Array, at: number): ScanError {
  return new ScanError(
    `a backslash before ${found(bytes, at)} in a string`,
    at,
    'JSON knows \\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX',
  );
}

/** One character, never more: what follows may be a secret. */
function found(bytes: Uint8Array, at: number): string {
  const byte = bytes[at];
  if (byte === undefined) return "the end";
  if (byte > 0x20 && byte < 0x7f) return byte === 0x22 ? "'\"'" : `"${String.fromCharCode(byte)}"`;
  if (byte >= 0xc2) {
    const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    const character = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.slice(at, at + length));
    if (!character.includes("\ufffd") && /[\p{L}\p{N}\p{P}\p{S}]/u.test(character)) return `"${character}"`;
  }
  return `byte 0x${byte.toString(16).padStart(2, "0")}`;
}

const SINGLE_QUOTE = 0x27;

function hint(bytes: Uint8Array, at: number, wanted: string): string | undefined {
  const byte = bytes[at];
  if (byte === undefined || (wanted !== VALUE && wanted !== KEY)) return undefined;
  if (byte === SINGLE_QUOTE) return "JSON takes double quotes only";
  if (byte === 0xe2) return 'JSON takes straight double quotes (") only';
  if (byte === 0x2f) return "JSON has no comments";
  if ((byte === CLOSE_BRACE || byte === CLOSE_BRACE - 0x20) && isAfterComma(bytes, at)) {
    return "no comma before it";
  }
  const letter = byte | 0x20;
  if (wanted === VALUE && letter >= 0x61 && letter <= 0x7a) {
    return "text goes in double quotes; only true, false and null go without";
  }
  return undefined;
}

function isAfterComma(bytes: Uint8Array, at: number): boolean {
  do at--;
  while (isSpace(bytes[at]));
  return bytes[at] === COMMA;
}
