/** A load process: opens its share of the connections, publishes its streams, counts what arrives. */

import type { FromLoad, ToLoad } from "./messages.js";
import { LoadShare } from "./load-share.js";

const PROGRESS_MS = 250;

let share: LoadShare | undefined;
let queue = Promise.resolve();

function tell(message: FromLoad): void {
  // The parent may be gone; then so is this process, on "disconnect".
  if (process.connected) process.send!(message);
}

async function take(message: ToLoad): Promise<void> {
  if (message.kind === "open") {
    share?.close();
    share = new LoadShare(message.plan, message.process, message.processes);
    tell({ kind: "opened", opened: await share.open() });
    return;
  }
  if (message.kind === "close") {
    share?.close();
    share = undefined;
    tell({ kind: "closed" });
    return;
  }
  if (share === undefined) throw new Error(`${message.kind} before open`);
  switch (message.kind) {
    case "start":
      return share.start(message.traffic);
    case "mark":
      return share.mark();
    case "stop":
      return tell({ kind: "stopped", stopped: share.stop() });
    case "settle":
      return tell({
        kind: "settled",
        settled: await share.settle(new Map(message.sent), message.quietMs, message.mostMs),
      });
    case "join":
      return tell({ kind: "joined", joined: await share.join(message) });
    case "storm":
      return tell({ kind: "stormed", opened: await share.storm(message.deadlineMs) });
  }
}

process.on("message", (message: ToLoad) => {
  queue = queue
    .then(() => take(message))
    .catch((error: unknown) =>
      tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) }),
    );
});
process.once("disconnect", () => process.exit(0));
// Ctrl-C reaches the whole process group; the parent ends this process when it has cleaned up.
process.on("SIGINT", () => undefined);
setInterval(() => {
  if (share !== undefined) tell({ kind: "progress", counters: share.counters() });
}, PROGRESS_MS);
tell({ kind: "loaded" });
