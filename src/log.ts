/** The node's log: pino, as JSON lines or pretty. */

import pino from "pino";
import { prettyFactory } from "pino-pretty";
import type { Log } from "./core/log.js";

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** auto: pretty where stderr is a terminal. */
  readonly format: "auto" | "json" | "pretty";
  /** Fields of every line. */
  readonly base?: Readonly<Record<string, string>>;
  /** Where whole lines go, synchronously; stderr unless given. */
  readonly destination?: { write(line: string): void };
}

const SECRETS = [
  "token",
  "resume",
  "resumeSecret",
  "authorization",
  "apiKey",
  "apiKeys",
  "secret",
  "jwtSecret",
  "password",
];
/** Fields, fields of fields, and one level more: no record that is logged is deeper. */
const REDACTED = SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

/** What could not be written is kept for the next line's attempt up to this, and then dropped. */
const MAX_WAITING_CHARACTERS = 1_000_000;

/** Text from clients can reach any field: no control character of it leaves this function. */
export function createLog({ level, format, base = {}, destination }: LogOptions): Log {
  const terminal = destination === undefined && process.stderr.isTTY;
  const pretty = format === "pretty" || (format === "auto" && terminal);
  // Synchronous, so that what was logged before an exit is not lost with it.
  const out = destination ?? standardError();
  const prettify = prettyFactory({
    colorize: terminal && !process.env["NO_COLOR"],
    translateTime: "SYS:HH:MM:ss.l",
    singleLine: true,
  });
  const log = pino(
    {
      level,
      base,
      redact: { paths: REDACTED, censor: "***" },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line: string) => {
        out.write(pretty ? prettify(visible(line)) : escaped(line));
      },
    },
  );
  return {
    debugs: log.isLevelEnabled("debug"),
    debug: (fields, message) => log.debug(fields, oneLine(message)),
    info: (fields, message) => log.info(fields, oneLine(message)),
    warn: (fields, message) => log.warn(fields, oneLine(message)),
    error: (fields, message) => log.error(fields, oneLine(message)),
  };
}

function standardError(): LogOptions["destination"] & object {
  const out = pino.destination({ dest: 2, sync: true, maxLength: MAX_WAITING_CHARACTERS });
  // A terminal that was closed, a disk that is full: no reason to end a node without a drain.
  out.on("error", () => undefined);
  return out;
}

/** A message with a line break could forge a line of a pretty log. */
function oneLine(message: string): string {
  return message.replace(/\r?\n/g, "\\n");
}

/** What JSON leaves as it is and a terminal obeys: DEL, C1 controls, line separators, changes of direction. */
const OBEYED = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const hex = (character: string): string => character.charCodeAt(0).toString(16).padStart(4, "0");

function escaped(line: string): string {
  return line.replace(OBEYED, (character) => `\\u${hex(character)}`);
}

/** A JSON line whose strings, once parsed, show escapes in place of control characters (but for line feeds). */
function visible(line: string): string {
  return line
    .replace(/\\(u00[01][0-9a-f]|.)/gi, (pair, code: string) =>
      /^(u00|[bfrt]$)/i.test(code) ? `\\${pair}` : pair,
    )
    .replace(OBEYED, (character) => `\\\\u${hex(character)}`);
}
