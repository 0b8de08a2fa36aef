/** The state of the connection, for everyone to see, in pusher-js's own words where there is room. */

import { placeDetails } from "../details.js";
import { byId } from "../dom.js";
import type { Pusher } from "./pusher-js.js";

/** Each of pusher-js's states as the page shows it. */
const STATES: Readonly<Record<string, { shown: string; words: string }>> = {
  initialized: { shown: "connecting", words: "Connecting…" },
  connecting: { shown: "connecting", words: "Connecting…" },
  connected: { shown: "connected", words: "Connected" },
  // It goes on trying.
  unavailable: { shown: "waiting", words: "The node is away" },
  failed: { shown: "closed", words: "No WebSocket here" },
  disconnected: { shown: "closed", words: "Closed for good" },
};

export function startStatus(pusher: Pusher): void {
  const { connection } = pusher;
  byId("again", HTMLButtonElement).addEventListener("click", () => location.reload());
  placeDetails();
  let problem = "";
  connection.bind("error", (error: unknown) => {
    problem = problemOf(error) ?? problem;
  });
  connection.bind("state_change", ({ current }: { current: string }) => {
    if (current === "connected") problem = "";
    show(current, problem);
    const socket = connection.socket_id ?? "–";
    byId("socket", HTMLElement).textContent = current === "connected" ? socket : "–";
  });
  show(connection.state, "");
}

/** There is nothing to connect to. */
export function showFailure(message: string): void {
  byId("write-fields", HTMLFieldSetElement).disabled = true;
  byId("again", HTMLButtonElement).addEventListener("click", () => location.reload());
  show("disconnected", message);
}

function show(state: string, reason: string): void {
  const { shown, words } = STATES[state] ?? { shown: "connecting", words: state };
  const card = byId("link", HTMLElement);
  card.dataset["state"] = shown;
  card.toggleAttribute("data-stale", shown !== "connected");
  byId("state", HTMLElement).textContent = words;
  byId("spoken", HTMLElement).textContent = shown === "closed" ? `${words}: ${reason}` : words;
  const why = byId("why", HTMLElement);
  why.textContent = reason;
  why.hidden = reason === "";
  byId("again", HTMLButtonElement).hidden = shown !== "closed";
}

/** Codes with which a server sends its clients away, to come back at once. */
const COME_BACK = { from: 4200, below: 4300 };

/** What the server said, or with what it closed. */
function problemOf(error: unknown): string | undefined {
  const { data } = (error ?? {}) as { data?: { code?: unknown; message?: unknown } };
  const code = Number(data?.code);
  if (code >= COME_BACK.from && code < COME_BACK.below) return "The node closed the connection: trying again";
  if (typeof data?.message !== "string" || data.message === "") return undefined;
  return typeof data.code === "number" ? `${data.message} (${data.code})` : data.message;
}
