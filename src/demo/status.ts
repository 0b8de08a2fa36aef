/** The state of the connection, for everyone to see. */

import type { Client, Reason, StateChange } from "starling-edge/client";
import { byId, make } from "./dom.js";

export interface StatusOptions {
  readonly client: Client;
  /** A connection after one that was lost. */
  readonly back: (back: Back) => void;
  readonly changed: (connected: boolean) => void;
}

export interface Back {
  readonly resumed: boolean;
  readonly node: string;
  readonly nodeBefore: string;
  readonly awayMs: number;
}

const PING_INTERVAL_MS = 5000;
const RESUMED_SHOWN_MS = 6000;
const COUNTDOWN_TICK_MS = 100;
const TRACE_LENGTH = 30;
const TRACE_WIDTH = 120;
const TRACE_HEIGHT = 24;

type Shown = "connecting" | "connected" | "resumed" | "waiting" | "closed";

export function startStatus({ client, back, changed }: StatusOptions): void {
  const card = byId("link", HTMLElement);
  const text = byId("state", HTMLElement);
  const why = byId("why", HTMLElement);
  const wait = byId("wait", HTMLElement);
  const waitBar = byId("wait-bar", HTMLElement);
  const node = byId("node", HTMLElement);
  const trip = byId("trip", HTMLElement);
  const again = byId("again", HTMLButtonElement);
  const trips: number[] = [];
  let countdown: number | undefined;
  let calm: number | undefined;
  let pings: number | undefined;
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
    again.hidden = state !== "closed";
    byId("spoken", HTMLElement).textContent = words;
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
    void measure();
    pings = window.setInterval(() => void measure(), PING_INTERVAL_MS);
  }

  async function measure(): Promise<void> {
    const asked = client.connection?.connection;
    let ms: number;
    try {
      ms = await client.ping();
    } catch (error) {
      // Without a connection the state says enough.
      if (client.state === "connected") trip.textContent = "no answer";
      console.debug("ping", error);
      return;
    }
    if (client.connection?.connection !== asked) return;
    trip.textContent = duration(ms);
    trips.push(ms);
    if (trips.length > TRACE_LENGTH) trips.shift();
    drawTrace(trips);
  }

  function shownChange(change: StateChange): void {
    window.clearInterval(pings);
    card.toggleAttribute("data-stale", change.state !== "connected");
    if (change.state !== "connected" && last !== undefined) {
      lost = { node: last.node, at: performance.now() };
      last = undefined;
      trip.textContent = "–";
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
        show("closed", "Closed", because(change.reason));
        break;
    }
    changed(change.state === "connected");
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
  again.addEventListener("click", () => location.reload());
  listDetails();
  placeDetails();
  drawTrace(trips);
}

/** Beside the button that opens it; where there is no room, where the style sheet puts it. */
function placeDetails(): void {
  const details = byId("details", HTMLElement);
  const button = byId("details-open", HTMLElement);
  details.addEventListener("toggle", () => {
    const at = button.getBoundingClientRect();
    details.style.setProperty("--left", `${at.left}px`);
    details.style.setProperty("--top", `${at.bottom + 8}px`);
  });
}

/** A bar for each round trip, the newest on the right; a dot where there is none yet. */
function drawTrace(trips: readonly number[]): void {
  const most = Math.max(...trips, 1);
  const step = (TRACE_WIDTH - 2) / (TRACE_LENGTH - 1);
  const foot = TRACE_HEIGHT - 2;
  const first = TRACE_LENGTH - trips.length;
  const bar = (place: number, height: number): string =>
    `M${(1 + place * step).toFixed(1)} ${foot}v${(-height).toFixed(1)}`;
  const dots = Array.from({ length: first }, (_, place) => bar(place, 0.1));
  const bars = trips.map((ms, i) => bar(first + i, Math.max(1, (ms / most) * (TRACE_HEIGHT - 4))));
  byId("trace-empty", SVGPathElement).setAttribute("d", dots.join(""));
  byId("trace", SVGPathElement).setAttribute("d", bars.join(""));
}

function because({ code, message }: Reason): string {
  const hint = code === "unauthorized" ? ": add #token=<JWT> to this page's address" : "";
  return `${message} (${code})${hint}`;
}

export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}
