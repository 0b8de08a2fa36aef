/** How long the node takes to answer, measured now and then, with a trace of the last ones. */

import type { Client } from "starling-edge/client";
import { byId, duration } from "./dom.js";

const INTERVAL_MS = 5000;
/** Of so many the least is shown first: they also take what page and node do for the first time. */
const FIRST_PINGS = 5;
/** A page that is never idle measures all the same. */
const IDLE_TIMEOUT_MS = 2000;
/** Where the browser does not tell when it is idle. */
const SETTLE_MS = 300;
const TRACE_LENGTH = 30;
const TRACE_WIDTH = 120;
const TRACE_HEIGHT = 24;

export function startRoundTrip(client: Client): void {
  const shown = byId("trip", HTMLElement);
  const trips: number[] = [];
  let timer: number | undefined;

  async function measure(connection: string, isFirst: boolean): Promise<void> {
    const isCurrent = (): boolean => client.connection?.connection === connection;
    if (!isCurrent()) return;
    try {
      let ms = await client.ping();
      for (let n = 1; isFirst && n < FIRST_PINGS; n++) ms = Math.min(ms, await client.ping());
      if (!isCurrent()) return;
      shown.textContent = duration(ms);
      trips.push(ms);
      if (trips.length > TRACE_LENGTH) trips.shift();
      drawTrace(trips);
    } catch (error) {
      console.debug("ping", error);
      // Without a connection the state says enough.
      if (!isCurrent()) return;
      shown.textContent = "no answer";
    }
    timer = window.setTimeout(() => void measure(connection, false), INTERVAL_MS);
  }

  client.on("state", (change) => {
    window.clearTimeout(timer);
    if (change.state === "connected") whenIdle(() => void measure(change.connection, true));
    else shown.textContent = "–";
  });
  drawTrace(trips);
}

/** While the page loads, or shows what it caught up on, an answer waits for the page and not for the network. */
function whenIdle(act: () => void): void {
  if (document.readyState !== "complete") {
    window.addEventListener("load", () => whenIdle(act), { once: true });
  } else if ("requestIdleCallback" in window) {
    window.requestIdleCallback(act, { timeout: IDLE_TIMEOUT_MS });
  } else {
    setTimeout(act, SETTLE_MS);
  }
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
