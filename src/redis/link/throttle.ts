/**
 * Calls through at most once per interval. What came in between is only
 * counted, and the next call is told how many that were.
 */
export function limited<T extends unknown[]>(
  intervalMs: number,
  call: (suppressed: number, ...args: T) => void,
): (...args: T) => void {
  let lastMs = -Infinity;
  let suppressed = 0;
  return (...args) => {
    const nowMs = performance.now();
    if (nowMs - lastMs < intervalMs) {
      suppressed++;
      return;
    }
    lastMs = nowMs;
    const before = suppressed;
    suppressed = 0;
    call(before, ...args);
  };
}
