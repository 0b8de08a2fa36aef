export interface RateLimits {
  readonly messagesPerSecond: number;
  readonly messagesBurst: number;
  readonly bytesPerSecond: number;
  readonly bytesBurst: number;
}

/**
 * What is kept on each connection: two token buckets, of messages and of bytes. All small integers, in the
 * connection's own object, as a node holds very many. Begins as RATE_STATE.
 */
export interface RateState {
  rateMilliMessages: number;
  rateBytes: number;
  /** What the last refill left over: thousandths of a byte, or a low rate would never add up to one. */
  rateMilliBytes: number;
  /** When they were last refilled, ms; negative: never, so both are full. */
  rateAtMs: number;
}

export const RATE_STATE: Readonly<RateState> = {
  rateMilliMessages: 0,
  rateBytes: 0,
  rateMilliBytes: 0,
  rateAtMs: -1,
};

/**
 * @param nowMs  of a clock that does not go back, such as performance.now()
 * @returns which limit this frame is over, having taken nothing, or undefined
 */
export function takeRate(
  state: RateState,
  limits: RateLimits,
  bytes: number,
  nowMs: number,
): "messages" | "bytes" | undefined {
  refill(state, limits, nowMs);
  if (state.rateMilliMessages < 1000) return "messages";
  if (state.rateBytes < bytes) return "bytes";
  state.rateMilliMessages -= 1000;
  state.rateBytes -= bytes;
  return undefined;
}

/** Whether answers took more than the bucket held, see chargeRate. */
export function owesRate(state: RateState, limits: RateLimits, nowMs: number): boolean {
  refill(state, limits, nowMs);
  return state.rateMilliMessages < 0;
}

function refill(state: RateState, limits: RateLimits, nowMs: number): void {
  const atMs = Math.floor(nowMs);
  const elapsedMs = atMs - state.rateAtMs;
  if (state.rateAtMs < 0) {
    state.rateMilliMessages = limits.messagesBurst * 1000;
    state.rateBytes = limits.bytesBurst;
    state.rateAtMs = atMs;
  } else if (elapsedMs > 0) {
    state.rateAtMs = atMs;
    state.rateMilliMessages = Math.min(
      limits.messagesBurst * 1000,
      state.rateMilliMessages + elapsedMs * limits.messagesPerSecond,
    );
    const milliBytes = state.rateMilliBytes + elapsedMs * limits.bytesPerSecond;
    state.rateMilliBytes = milliBytes % 1000;
    state.rateBytes = Math.min(limits.bytesBurst, state.rateBytes + Math.floor(milliBytes / 1000));
  }
}

/** Thousandths of a message that each item of an answer takes from the bucket, and each byte of it. */
const MILLI_PER_ITEM = 250;
const MILLI_PER_BYTE = 0.25;

/**
 * Takes what an answer cost beyond its request. The bucket may owe, but not more than it holds when full:
 * a client that recovered much is not kept silent for long.
 */
export function chargeRate(
  state: RateState,
  { messagesBurst }: RateLimits,
  { items, bytes }: { readonly items: number; readonly bytes: number },
): void {
  const cost = Math.ceil(items * MILLI_PER_ITEM + bytes * MILLI_PER_BYTE);
  state.rateMilliMessages = Math.max(-messagesBurst * 1000, state.rateMilliMessages - cost);
}

/** Milliseconds until the buckets hold what a frame of so many bytes takes. */
export function rateWaitMs(
  state: RateState,
  over: "messages" | "bytes",
  limits: RateLimits,
  bytes: number,
): number {
  return over === "messages"
    ? Math.ceil((1000 - state.rateMilliMessages) / limits.messagesPerSecond)
    : Math.ceil(((bytes - state.rateBytes) * 1000) / limits.bytesPerSecond);
}

/** The limit, as errors name it. */
export function describeLimit(over: "messages" | "bytes", rate: RateLimits): string {
  const { messagesPerSecond, messagesBurst, bytesPerSecond, bytesBurst } = rate;
  return over === "messages"
    ? `message rate limit reached (messagesPerSecond ${messagesPerSecond}, messagesBurst ${messagesBurst})`
    : `byte rate limit reached (bytesPerSecond ${bytesPerSecond}, bytesBurst ${bytesBurst})`;
}
