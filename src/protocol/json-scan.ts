/**
 * Checks JSON text (RFC 8259) where it lies and finds where each value ends, so
 * that content can travel as the bytes it came in: parsing and stringifying it
 * again cost more than half of the bridge's throughput (docs: performance).
 *
 * Bytes must be valid UTF-8: uWebSockets.js checked text frames already.
 */

/** How deep arrays and objects may nest in content and frames. */
export const DEPTH_MAX = 64;

export class ScanError extends Error {
  /** Byte index of what was not expected. */
  readonly at: number;

  constructor(problem: string, at: number) {
    super(`${problem} at byte ${at}`);
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

/** The closing byte that each open container waits for; reused, as scanning never nests. */
const closers = new Uint8Array(DEPTH_MAX + 1);

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
      if (depth === DEPTH_MAX) throw new ScanError(`nesting deeper than ${DEPTH_MAX}`, at);
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
  if (bytes[at] !== QUOTE) throw unexpected(bytes, at, "a key in quotes");
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
  for (let i = at + 1; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) return i + 1;
    if (byte === BACKSLASH) i = skipEscape(bytes, i + 1);
    else if (byte < 0x20) throw new ScanError("control character in a string", i);
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
      throw new ScanError("unknown escape", at);
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

const LITERALS = ["true", "false", "null"].map((text) => new TextEncoder().encode(text));

function skipLiteral(bytes: Uint8Array, at: number): number {
  for (const literal of LITERALS) {
    if (literal.every((byte, i) => bytes[at + i] === byte)) return at + literal.length;
  }
  throw unexpected(bytes, at, "a JSON value");
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isHex(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66);
}

export function unexpected(bytes: Uint8Array, at: number, wanted: string): ScanError {
  const byte = bytes[at];
  const found =
    byte === undefined
      ? "the end"
      : byte > 0x20 && byte < 0x7f
        ? JSON.stringify(String.fromCharCode(byte))
        : `byte 0x${byte.toString(16).padStart(2, "0")}`;
  return new ScanError(`found ${found}, expected ${wanted}`, at);
}
