/**
 * Loaded into a server before its own code: on SIGUSR2 it collects garbage and gives the memory back, as gc()
 * does not. The inspector is asked from a thread of its own: from the main thread it would wait for itself.
 */

import { Session } from "node:inspector";
import { Worker, isMainThread, parentPort } from "node:worker_threads";

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { execArgv: [] });
  worker.unref();
  process.on("SIGUSR2", () => worker.postMessage("collect"));
} else {
  parentPort.on("message", () => {
    const session = new Session();
    session.connectToMainThread();
    session.post("HeapProfiler.collectGarbage", () => session.disconnect());
  });
}
