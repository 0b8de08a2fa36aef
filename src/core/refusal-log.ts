/** A line at level debug for each refusal, for who looks for the cause of one. Metrics count all of them. */

import type { Log, LogFields } from "./log.js";
import { TokenBucket } from "./token-bucket.js";

const LINES_PER_SECOND = 20;
const LINES_AT_ONCE = 100;

/** @param fields  asked for only where a line is written */
export type LogRefusal = (message: string, fields: () => LogFields) => void;

/** Lines beyond the rate are only counted: the next one says how many were suppressed. */
export function createRefusalLog(log: Log, nowMs: () => number = () => performance.now()): LogRefusal {
  if (log.debugs !== true) return () => undefined;
  const bucket = new TokenBucket({ perSecond: LINES_PER_SECOND, burst: LINES_AT_ONCE, nowMs: nowMs() });
  let suppressed = 0;
  return (message, fields) => {
    if (!bucket.take(nowMs())) {
      suppressed++;
      return;
    }
    log.debug(suppressed === 0 ? fields() : { ...fields(), suppressed }, message);
    suppressed = 0;
  };
}
