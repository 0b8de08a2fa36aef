/** A worker's side of `starling serve --workers`: what it tells the process that started it. */

import type { Socket } from "node:net";
import type { StarlingNode } from "../node.js";
import type { FromWorker, ToWorker, Urls } from "./worker-messages.js";

/** Longer than the starting process waits for a worker that does not answer. */
const ANSWER_TIMEOUT_MS = 2000;

export interface WorkerLink {
  /** Metrics of the other workers; without those that did not answer in time. */
  metricsOfOthers(): Promise<readonly string[]>;
  /** Calls `take` for each connection to the API's port that is this worker's. */
  apiConnections(take: (socket: Socket) => void): void;
  ready(node: StarlingNode, urls: Urls): void;
}

/** Needs the IPC channel of a child process. @param reload  called when the process that started it got a SIGHUP */
export function linkWorker(reload: () => void): WorkerLink {
  const waiting = new Map<number, (texts: readonly string[]) => void>();
  let lastId = 0;
  let ownMetrics: () => Promise<string> = () => Promise.resolve("");
  const tell = (message: FromWorker): void => {
    // A parent that is gone ends this process by "disconnect".
    if (process.connected) process.send?.(message);
  };
  let takeConnection = (socket: Socket): unknown => socket.destroy();
  process.on("message", (message: ToWorker, socket?: Socket) => {
    if (message.kind === "connection") {
      // It may have ended on the way.
      if (socket !== undefined) takeConnection(socket);
      return;
    }
    if (message.kind === "reload") {
      reload();
      return;
    }
    if (message.kind === "answer") {
      waiting.get(message.id)?.(message.texts);
      return;
    }
    void ownMetrics().then(
      (text) => tell({ kind: "metrics", id: message.id, text }),
      // Counted as a worker that did not answer.
      () => tell({ kind: "metrics", id: message.id, text: "" }),
    );
  });
  return {
    async metricsOfOthers() {
      const id = ++lastId;
      let timer: NodeJS.Timeout | undefined;
      const texts = await new Promise<readonly string[]>((resolve) => {
        waiting.set(id, resolve);
        timer = setTimeout(() => resolve([]), ANSWER_TIMEOUT_MS);
        tell({ kind: "ask", id });
      });
      clearTimeout(timer);
      waiting.delete(id);
      return texts;
    },
    apiConnections(take) {
      takeConnection = take;
      tell({ kind: "api" });
    },
    ready(node, urls) {
      ownMetrics = () => node.metrics();
      tell({ kind: "ready", urls });
    },
  };
}
