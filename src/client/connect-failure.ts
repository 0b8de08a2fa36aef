/** Why an attempt to connect failed, as far as the platform lets it be known. */

import type { Clock } from "./clock.js";
import { StarlingError } from "./error.js";
import { hideSecrets, withoutSecrets } from "./url.js";

/** Known of a failure; without a cause the platform did not tell. */
interface Cause {
  readonly cause?: string | undefined;
  readonly status?: number | undefined;
}

export interface Attempt {
  readonly url: string;
  /** The WebSocket's error event, where there was one. */
  readonly fault: object | undefined;
  /** The client's own reason: a deadline. */
  readonly reason: string;
}

const EXPLAIN_MS = 3_000;
const BODY_CHARACTERS = 200;
/** "Unexpected server response: 404" (ws), "Invalid status code: 404" (Deno), "Expected HTTP 101 response but was '404 ..." (Android) */
const STATUS = /(?:response|status)\D*(?:101 \D+)?([345]\d\d)\b/i;
/** Node 22's WebSocket, and Bun's: which of all is not said. */
const SAYS_NOTHING = /non-101|failed to connect$|^$/i;
const NO_TLS = /EPROTO|WRONG_VERSION|InvalidContentType|wrong version/i;

/** Reports failed attempts: each cause once, until a connection is made. */
export class ConnectFailures {
  readonly #clock: Clock;
  readonly #report: (error: StarlingError) => void;
  readonly #told = new Set<string>();
  /** The question over HTTP: of a client, one. */
  #question: AbortController | undefined;
  #mayAsk = typeof fetch === "function";

  constructor(clock: Clock, report: (error: StarlingError) => void) {
    this.#clock = clock;
    this.#report = report;
  }

  /** The URL is known to be right from now on. */
  connected(): void {
    this.#told.clear();
    this.stop();
  }

  /** Nothing is asked any more, and what was asked is not told. */
  stop(): void {
    this.#mayAsk = false;
    this.#question?.abort();
  }

  /** @returns what is known of it now, and what reports it; more may be reported later */
  failed(attempt: Attempt): [StarlingError, () => void] {
    const known = attempt.fault === undefined ? { cause: attempt.reason } : told(attempt.fault);
    const error = failure(attempt, known);
    return [
      error,
      () => (known.cause === undefined && this.#mayAsk ? this.#ask(attempt) : this.#tell(error)),
    ];
  }

  #ask(attempt: Attempt): void {
    if (this.#question) return;
    this.#question = new AbortController();
    void explain(attempt.url, this.#question, this.#clock).then(
      (found) => this.#mayAsk && this.#tell(failure(attempt, found)),
    );
  }

  #tell(error: StarlingError): void {
    if (this.#told.has(error.message)) return;
    this.#told.add(error.message);
    this.#report(error);
  }
}

function failure({ url, fault }: Attempt, { cause, status }: Cause): StarlingError {
  let why = cause === undefined ? "" : `: ${cause}`;
  if (/^wss:/i.test(url) && NO_TLS.test(why)) why += " (no TLS is spoken there: is it ws://?)";
  if (status === 426) why += " (the URL is right: does each proxy pass Upgrade and Connection on?)";
  // An event would bring its WebSocket along, whose URL may have a token.
  const { error } = (fault ?? {}) as { error?: unknown };
  return new StarlingError("connect_failed", hideSecrets(`could not connect to ${url}${why}`, url), {
    status,
    cause: error instanceof Error ? error : undefined,
  });
}

/** What an error, an event with one, or a chain of causes says: a code such as ECONNREFUSED before words. */
function told(fault: object): Cause {
  let words = "";
  for (let at: unknown = fault, depth = 0; at && depth < 5; depth++) {
    const { code, message, error, cause } = at as Partial<Record<string, unknown>>;
    if (typeof code === "string" && code !== "") return { cause: code };
    if (typeof message === "string" && message !== "") words = message;
    at = error ?? cause;
  }
  const status = STATUS.exec(words)?.[1];
  if (status !== undefined) return { cause: `HTTP ${status}`, status: Number(status) };
  if (!SAYS_NOTHING.test(words)) return { cause: words };
  const { onLine } = (globalThis.navigator ?? {}) as { onLine?: boolean };
  return onLine === false ? { cause: "this device is offline" } : {};
}

/** Asks over HTTP, which tells what the WebSocket did not: Node's fetch all of it, a page's what CORS lets through. */
async function explain(url: string, question: AbortController, clock: Clock): Promise<Cause> {
  let isLate = false;
  const late = () => {
    isLate = true;
    question.abort();
  };
  const timer = clock.setTimeout(late, EXPLAIN_MS, true);
  // Which node is asked matters, who asks does not.
  const plain = withoutSecrets(url).replace(/^ws/, "http");
  const ask = (mode: RequestMode) =>
    fetch(plain, {
      ...{ mode, cache: "no-store", redirect: "manual", signal: question.signal },
      // A page of the node's own origin sends that in no other header.
      referrerPolicy: "origin",
      // A node then says why it would refuse a WebSocket. A page may send this to any origin.
      headers: { accept: "text/plain" },
    });
  try {
    const response = await ask("cors");
    const { status } = response;
    if (status < 400)
      return { cause: `HTTP is served there (status ${status || "3xx"}), but the WebSocket was refused` };
    const isText = response.headers.get("content-type")?.startsWith("text/plain") === true;
    const line = isText ? (await response.text()).slice(0, BODY_CHARACTERS).split("\n")[0] : "";
    return { cause: `HTTP ${status}${line ? `: ${line}` : ""}`, status };
  } catch (error) {
    if (isLate) return { cause: `no answer within ${EXPLAIN_MS} ms` };
    if (typeof document === "undefined" && typeof location === "undefined") return told(error as object);
    // A page is not told more than whether anything answers.
    return await ask("no-cors").then(
      () => ({
        cause: "a server is there, but the WebSocket was refused: the browser's network panel says how",
      }),
      () => ({ cause: "nothing answers there: refused, unknown host, no TLS, or forbidden to this page" }),
    );
  } finally {
    clock.clearTimeout(timer);
    // The rest of the answer too.
    question.abort();
  }
}
