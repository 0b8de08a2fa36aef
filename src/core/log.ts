/**
 * Fields of one line. Those named here are on every line already, `node` as the node that writes: a
 * second one of the same name makes a line that readers of JSON take in different ways.
 */
export type LogFields = Readonly<Record<string, unknown>> & {
  readonly [Always in "node" | "level" | "time" | "msg"]?: never;
};

/** The part of a logger that the node uses; node.ts passes pino. Fields first, then the message. */
export interface Log {
  /** Whether lines at level debug are written: who must work for one asks first. */
  readonly debugs?: boolean;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
