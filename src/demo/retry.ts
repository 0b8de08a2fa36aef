import type { StarlingError } from "starling-edge/client";

const TRIES = 4;
const DELAY_MS = 1000;

/**
 * Asks again, later each time, while the refusal is temporary and the answer still wanted.
 * @throws StarlingError the last refusal
 */
export async function retryWhileTemporary<Answer>(
  ask: () => Promise<Answer>,
  wanted: () => boolean,
): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      const { temporary, retryAfterMs = 0 } = error as StarlingError;
      if (!temporary || attempt === TRIES || !wanted()) throw error;
      const delayMs = Math.max(retryAfterMs, DELAY_MS * 2 ** (attempt - 1));
      await new Promise((resolve) => window.setTimeout(resolve, delayMs));
    }
  }
}
