/** Publishes through the server API of random nodes, as an application's backend does. */

import type { PublicationRecord } from "./checker.js";
import type { FleetNode } from "./fleet.js";

const ANSWER_MS = 5_000;

interface ApiAnswer {
  readonly offset?: number;
  readonly epoch?: string;
  readonly error?: { readonly code: string };
}

/** Settles with what happened; never repeated. */
export async function publishByApi(
  node: Pick<FleetNode, "apiUrl">,
  id: string,
  channel: string,
  filler = "",
): Promise<PublicationRecord> {
  const sentAtMs = Date.now();
  const settled = (outcome: PublicationRecord["outcome"], answer?: ApiAnswer): PublicationRecord => ({
    kind: "publication",
    id,
    channel,
    sentAtMs,
    settledAtMs: Date.now(),
    outcome,
    position:
      answer?.offset === undefined || answer.epoch === undefined
        ? undefined
        : { offset: answer.offset, epoch: answer.epoch },
  });
  try {
    const response = await fetch(`${node.apiUrl}/v1/publish`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ channel, content: { id, ...(filler === "" ? {} : { filler }) } }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = (await response.json()) as ApiAnswer;
    if (response.ok) return settled("acked", answer);
    // 5xx other than "the message bus is unreachable" may have happened.
    return settled(response.status < 500 || answer.error?.code === "unavailable" ? "refused" : "maybe");
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as { code?: string };
    return settled(code === "ECONNREFUSED" ? "refused" : "maybe");
  }
}
