/**
 * What a payload begins with: `~b`, stream (6 digits), sequence (9), send time in microseconds (14), `~`.
 * Of fixed width and plain ASCII, so that every encoding carries it unchanged, a prebuilt frame is patched in
 * place, and a receiver finds it without decoding the frame.
 */

export const MARKER_BYTES = 32;
export const STREAMS_MAX = 1_000_000;

const TILDE = 0x7e;
const LETTER_B = 0x62;
const STREAM_AT = 2;
const STREAM_DIGITS = 6;
const SEQUENCE_AT = STREAM_AT + STREAM_DIGITS;
const SEQUENCE_DIGITS = 9;
const TIME_AT = SEQUENCE_AT + SEQUENCE_DIGITS;
const TIME_DIGITS = 14;

/** performance.now() counts CLOCK_MONOTONIC from this process's start; with this it is one clock for all processes. */
const CLOCK_OFFSET_US = clockOffset();

function clockOffset(): number {
  const before = performance.now();
  const at = Number(process.hrtime.bigint() / 1000n);
  return Math.round(at - ((before + performance.now()) / 2) * 1000);
}

/** Microseconds on a clock that all processes of this machine share. */
export function nowUs(): number {
  return Math.round(performance.now() * 1000) + CLOCK_OFFSET_US;
}

/** A payload of `bytes` with an empty marker for `patch`. */
export function createPayload(bytes: number, stream: number): string {
  if (bytes < MARKER_BYTES)
    throw new Error(`a payload of ${bytes} bytes: the marker alone takes ${MARKER_BYTES}`);
  const head = `~b${String(stream).padStart(STREAM_DIGITS, "0")}`;
  return `${head}${"0".repeat(SEQUENCE_DIGITS + TIME_DIGITS)}~`.padEnd(bytes, "x");
}

export function writeMarker(buffer: Buffer, markerAt: number, sequence: number, timeUs: number): void {
  writeDigits(buffer, markerAt + SEQUENCE_AT, SEQUENCE_DIGITS, sequence);
  writeDigits(buffer, markerAt + TIME_AT, TIME_DIGITS, timeUs);
}

function writeDigits(buffer: Buffer, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const quotient = Math.floor(rest / 10);
    buffer[i] = 48 + rest - quotient * 10;
    rest = quotient;
  }
}

export function isMarkerAt(buffer: Buffer, at: number, end: number): boolean {
  return (
    at + MARKER_BYTES <= end &&
    buffer[at] === TILDE &&
    buffer[at + 1] === LETTER_B &&
    buffer[at + MARKER_BYTES - 1] === TILDE
  );
}

/** @returns where the marker is, or -1. By hand: Buffer.indexOf has no end, and would scan the frames behind. */
export function findMarker(buffer: Buffer, start: number, end: number): number {
  const last = end - MARKER_BYTES;
  for (let at = start; at <= last; at++) {
    if (buffer[at] === TILDE && isMarkerAt(buffer, at, end)) return at;
  }
  return -1;
}

export function readStream(buffer: Buffer, markerAt: number): number {
  return readDigits(buffer, markerAt + STREAM_AT, STREAM_DIGITS);
}

export function readSequence(buffer: Buffer, markerAt: number): number {
  return readDigits(buffer, markerAt + SEQUENCE_AT, SEQUENCE_DIGITS);
}

export function readTimeUs(buffer: Buffer, markerAt: number): number {
  return readDigits(buffer, markerAt + TIME_AT, 7) * 1e7 + readDigits(buffer, markerAt + TIME_AT + 7, 7);
}

function readDigits(buffer: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let i = at; i < at + digits; i++) value = value * 10 + (buffer[i]! - 48);
  return value;
}
