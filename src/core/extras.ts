/** What may go with a publication besides what its readers are told of it, and seldom does. */

import { isJson } from "../encoding/text-content.js";
import { StarlingError } from "./errors.js";
import { MEMBER_INFO_BYTES_MAX, TRACE_CHARACTERS_MAX } from "./limits.js";

export interface PublicationExtras {
  /** The `traceparent` of W3C Trace Context. */
  readonly trace?: string | undefined;
  /** What the sender's member shows of itself: JSON, at most MEMBER_INFO_BYTES_MAX bytes. */
  readonly info?: string | undefined;
  /** Its number among its publisher's: a safe integer, 0 or more. */
  readonly sequence?: number | undefined;
}

/** Version, trace id, parent id and flags; versions that follow 00 may have more behind them. */
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]*)?$/;

/** Why they cannot be taken. undefined: they can, or there are none. */
export function extrasError(extras: PublicationExtras | undefined): StarlingError | undefined {
  if (extras === undefined) return undefined;
  const { trace, info, sequence } = extras;
  if (trace !== undefined && trace.length > TRACE_CHARACTERS_MAX) {
    return bad(`"trace" has ${trace.length} characters, at most ${TRACE_CHARACTERS_MAX} are allowed`);
  }
  if (trace !== undefined && !TRACEPARENT.test(trace)) {
    return bad('"trace" is no traceparent, as in 00-<32 hex digits>-<16 hex digits>-01');
  }
  if (info !== undefined) {
    const bytes = Buffer.from(info);
    if (bytes.length > MEMBER_INFO_BYTES_MAX) {
      return bad(`"info" has ${bytes.length} bytes, at most ${MEMBER_INFO_BYTES_MAX} are allowed`);
    }
    if (!isJson(bytes)) return bad('"info" is no JSON value');
  }
  if (sequence !== undefined && !(Number.isSafeInteger(sequence) && sequence >= 0)) {
    return bad(
      `"sequence" is ${sequence}, only whole numbers from 0 to ${Number.MAX_SAFE_INTEGER} are allowed`,
    );
  }
  return undefined;
}

function bad(message: string): StarlingError {
  return new StarlingError("bad_request", message);
}
