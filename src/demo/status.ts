/** The state of the connection, for everyone to see. */

import type { Client, Reason, StateChange } from "starling-edge/client";
import { placeDetails } from "./details.js";
import { byId, make } from "./dom.js";

export interface StatusOptions {
  readonly client: Client;
  /** A connection after one that was lost. */
  readonly back: (back: Back) => void;
}

export interface Back {
  readonly resumed: boolean;
  readonly node: string;
  readonly nodeBefore: string;
  readonly awayMs: number;
}

const RESUMED_SHOWN_MS = 6000;
const COUNTDOWN_TICK_MS = 100;

/** Unlike a connection that is waited for, nothing brings this one back by itself. */
const CLOSED = "Closed for good";

type Shown = "connecting" | "connected" | "resumed" | "waiting" | "closed";

export function startStatus({ client, back }: StatusOptions): void {
  const card = byId("link", HTMLElement);
  const text = byId("state", HTMLElement);
  const why = byId("why", HTMLElement);
  const wait = byId("wait", HTMLElement);
  const waitBar = byId("wait-bar", HTMLElement);
  const node = byId("node", HTMLElement);
  const again = byId("again", HTMLButtonElement);
  let countdown: number | undefined;
  let calm: number | undefined;
  let lost: { node: string; at: number } | undefined;
  let last: { node: string } | undefined;
  let reconnects = 0;
  let since: Date | undefined;

  function show(state: Shown, words: string, reason = ""): void {
    window.clearInterval(countdown);
    window.clearTimeout(calm);
    card.dataset["state"] = state;
    text.textContent = words;
    why.textContent = reason;
    why.hidden = reason === "";
    wait.hidden = state !== "waiting";
    again.hidden = state !== "closed" && state !== "waiting";
    again.textContent = state === "waiting" ? "Try now" : "Connect again";
    byId("spoken", HTMLElement).textContent = state === "closed" ? `${words}: ${reason}` : words;
  }

  function showWaiting(retryInMs: number, reason: Reason): void {
    const endsAt = performance.now() + retryInMs;
    const seconds = (): string => `Waiting ${Math.max(1, Math.ceil((endsAt - performance.now()) / 1000))} s`;
    show("waiting", seconds(), because(reason));
    const tick = (): void => {
      text.textContent = seconds();
      const left = retryInMs === 0 ? 0 : Math.max(0, endsAt - performance.now()) / retryInMs;
      waitBar.style.transform = `scaleX(${left})`;
    };
    tick();
    countdown = window.setInterval(tick, COUNTDOWN_TICK_MS);
  }

  function showConnected(info: Extract<StateChange, { state: "connected" }>): void {
    since = new Date();
    node.textContent = info.node;
    if (lost === undefined) {
      show("connected", "Connected");
    } else {
      reconnects++;
      const moved = lost.node !== info.node;
      const words = info.resumed ? "Resumed" : "Connected again";
      show(info.resumed ? "resumed" : "connected", words, moved ? `${lost.node} → ${info.node}` : "");
      calm = window.setTimeout(() => show("connected", "Connected"), RESUMED_SHOWN_MS);
      const awayMs = performance.now() - lost.at;
      back({ resumed: info.resumed, node: info.node, nodeBefore: lost.node, awayMs });
    }
    lost = undefined;
    last = { node: info.node };
  }

  function shownChange(change: StateChange): void {
    card.toggleAttribute("data-stale", change.state !== "connected");
    if (change.state !== "connected" && last !== undefined) {
      lost = { node: last.node, at: performance.now() };
      last = undefined;
    }
    switch (change.state) {
      case "connecting":
        show("connecting", "Connecting…", change.attempt > 1 ? `attempt ${change.attempt}` : "");
        break;
      case "waiting":
        showWaiting(change.retryInMs, change.reason);
        break;
      case "connected":
        showConnected(change);
        break;
      case "closed":
        show("closed", CLOSED, because(change.reason));
        break;
    }
  }

  function listDetails(): void {
    const { connection } = client;
    const facts: [string, string][] = [
      ["Node", connection?.node ?? "–"],
      ["Connection", connection?.connection ?? "–"],
      ["Session", connection?.session ?? "–"],
      ["User", connection === undefined ? "–" : (connection.user ?? "not identified")],
      ["Connected since", connection === undefined ? "–" : (since?.toLocaleTimeString() ?? "–")],
      ["Reconnects", String(reconnects)],
    ];
    const rows = facts.map(([name, value]) =>
      make("div", {}, [make("dt", { text: name }), make("dd", { text: value })]),
    );
    byId("details-list", HTMLElement).replaceChildren(...rows);
  }

  client.on("state", (change) => {
    shownChange(change);
    listDetails();
  });
  again.addEventListener("click", () => {
    if (client.state === "closed") location.reload();
    else client.reconnect();
  });
  listDetails();
  placeDetails();
}

/** There is nothing to connect to. */
export function showRefusal(message: string): void {
  byId("link", HTMLElement).dataset["state"] = "closed";
  byId("state", HTMLElement).textContent = CLOSED;
  byId("spoken", HTMLElement).textContent = `${CLOSED}: ${message}`;
  const why = byId("why", HTMLElement);
  why.textContent = message;
  why.hidden = false;
}

function because({ code, message }: Reason): string {
  const hint = code === "unauthorized" ? ": add #token=<JWT> to this page's address" : "";
  return `${message} (${code})${hint}`;
}
