/**
 * A function that calls `call` at most once per interval. Calls in between are only
 * counted, and the next one is told how many were suppressed.
 */
export function throttle<T extends unknown[]>(
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
