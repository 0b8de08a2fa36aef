/** `starling serve --workers N`: several nodes of a fleet on one machine, one process each. */

import { createServer, type AddressInfo, type Server } from "node:net";
import type { ConfigSources, LoadedConfig } from "../config/load.js";
import { envName } from "../config/options.js";
import type { Log } from "../core/log.js";
import { environmentOf } from "./environment.js";
import { killAfterMs, startNodeProcess, type NodeProcess } from "./node-process.js";
import { readConfigAgain } from "./reload.js";
import { restartDelay, type RestartDelay } from "./restart-delay.js";
import { onStopSignals } from "./signals.js";
import { StartError } from "./start-error.js";
import type { FromWorker, ToWorker, Urls } from "./worker-messages.js";

const METRICS_TIMEOUT_MS = 1000;

interface Worker {
  readonly number: number;
  process: NodeProcess | undefined;
  /** The worker answers the API, and serves clients once it is ready: in between it waits for Redis. */
  answers: boolean;
  ready: boolean;
  restarts: number;
  readonly delay: RestartDelay;
}

/** A question of one worker, for the metrics of the others. */
interface Question {
  readonly texts: string[];
  missing: number;
  readonly answer: () => void;
}

/** Resolves when all workers serve. Ends the process itself, on a signal. */
export async function serveWorkers(loaded: LoadedConfig, sources: ConfigSources, log: Log): Promise<void> {
  const { config } = loaded;
  const { port, apiPort, portPerWorker } = config;
  const sharedPort = portPerWorker ? undefined : await claimPort(config.host, port);
  const workers: Worker[] = Array.from({ length: config.workers }, (_, index) => ({
    number: index + 1,
    ...{ process: undefined, answers: false, ready: false },
    ...{ restarts: 0, delay: restartDelay() },
  }));
  const api = await listenForWorkers(config.apiHost, apiPort, () => {
    const serving = workers.filter(({ ready }) => ready);
    return serving.length > 0 ? serving : workers.filter(({ answers }) => answers);
  });
  let stopping: Promise<void> | undefined;
  let serving = false;

  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      await Promise.all(workers.map(async (worker) => worker.process?.stop(killAfterMs(config))));
    })());
  // Reached by process.exit too, as on a second Ctrl-C: nothing may be left running.
  process.on("exit", () => workers.forEach((worker) => worker.process?.kill()));
  onStopSignals(
    (reason) => {
      log.info({ reason, workers: config.workers, drainMs: config.drainMs }, "stopping the workers");
      void stop().then(() => process.exit(0));
    },
    // By message, as a signal would end a worker that does not listen for it yet.
    () => {
      if (readConfigAgain(loaded, sources, log) === undefined) return;
      for (const { process } of workers) process?.send({ kind: "reload" });
    },
  );

  const questions = new Map<number, Question>();
  let lastQuestion = 0;

  function heard(from: Worker, message: FromWorker): void {
    if (message.kind === "metrics") {
      const question = questions.get(message.id);
      if (question === undefined) return;
      if (message.text !== "") question.texts.push(message.text);
      if (--question.missing === 0) question.answer();
    } else if (message.kind === "ask") {
      gather(from, message.id);
    } else if (message.kind === "api") {
      from.answers = true;
    }
  }

  function gather(asker: Worker, askerId: number): void {
    const others = workers.filter((worker) => worker !== asker && worker.ready);
    const id = ++lastQuestion;
    const texts: string[] = [];
    const answer = (): void => {
      clearTimeout(timer);
      questions.delete(id);
      asker.process?.send({ kind: "answer", id: askerId, texts } satisfies ToWorker);
    };
    const timer = setTimeout(answer, METRICS_TIMEOUT_MS);
    questions.set(id, { texts, missing: others.length, answer });
    if (others.length === 0) answer();
    for (const { process } of others) process?.send({ kind: "report", id } satisfies ToWorker);
  }

  async function start(worker: Worker): Promise<Urls | undefined> {
    const id = `${config.nodeId}-${worker.number}${worker.restarts === 0 ? "" : `r${worker.restarts}`}`;
    worker.delay.started();
    const child = startNodeProcess(
      id,
      {
        ...environmentOf(loaded, sources.flags ?? {}),
        [envName("nodeId")]: id,
        [envName("port")]: String(sharedPort ?? (port === 0 ? 0 : port + worker.number - 1)),
        [envName("apiPort")]: String(api.port),
      },
      {
        args: ["--worker", String(worker.number)],
        plain: true,
        heard: (message) => heard(worker, message),
      },
    );
    worker.process = child;
    void child.ended.then((how) => ended(worker, id, how));
    const urls = await child.ready;
    worker.ready = urls !== undefined;
    return urls;
  }

  function ended(worker: Worker, id: string, how: string): void {
    worker.answers = false;
    worker.ready = false;
    worker.process = undefined;
    if (!serving || stopping !== undefined) return;
    // Under another id: the entry of the one that died stands until its lease ends.
    worker.restarts++;
    const restartAfterMs = worker.delay.nextMs();
    log.error({ worker: worker.number, id, how, restartAfterMs }, "a worker ended");
    setTimeout(() => {
      if (stopping === undefined) void start(worker);
    }, restartAfterMs);
  }

  const [first, ...rest] = workers;
  // One first: what is wrong is then said once and not by all of them.
  const all = [await start(first!)];
  if (all[0] !== undefined) all.push(...(await Promise.all(rest.map(start))));
  if (stopping !== undefined) return;
  if (all.includes(undefined)) {
    await stop();
    throw new StartError("cannot start: a worker did not start, see above");
  }
  serving = true;
  // One that ended while the last ones started.
  for (const worker of workers)
    if (!worker.ready) ended(worker, `${config.nodeId}-${worker.number}`, "early");
  process.stdout.write(lines(all as Urls[], portPerWorker));
}

/**
 * The workers share their port with anyone who asks the kernel for that, so it is asked for alone first.
 * @returns the port, for 0 a free one: the socket server shares none that the kernel chose
 */
async function claimPort(host: string, port: number): Promise<number> {
  const server = createServer();
  const claimed = await listenAlone(server, host, port, "host, port");
  await new Promise((resolve) => server.close(resolve));
  return claimed;
}

/**
 * Takes the connections of the API's port and hands them to the workers in turn: before 23.1 Node.js's
 * own servers cannot share a port by SO_REUSEPORT.
 */
async function listenForWorkers(
  host: string,
  port: number,
  takersNow: () => readonly Worker[],
): Promise<{ readonly port: number }> {
  let turn = 0;
  // Paused: what the client sends is for the worker to read.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined); // "close" follows
    const takers = takersNow();
    const taker = takers[turn++ % takers.length]?.process;
    if (taker === undefined) socket.destroy();
    else taker.send({ kind: "connection" }, socket);
  });
  return { port: await listenAlone(server, host, port, "apiHost, apiPort") };
}

function listenAlone(server: Server, host: string, port: number, options: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const message = `cannot start: cannot listen on ${host}:${port} (${options}): ${error.message}`;
      reject(new StartError(message, { cause: error }));
    });
    server.listen({ host, port, exclusive: true }, () => resolve((server.address() as AddressInfo).port));
  });
}

function lines(all: readonly Urls[], portPerWorker: boolean): string {
  const [first = {}] = all;
  const { websocket: _, ...others } = first;
  const sockets = portPerWorker ? all.map((urls) => urls["websocket"]) : [first["websocket"]];
  const shown = [
    ...sockets.map((url) => ["websocket", url] as const),
    ...Object.entries(others),
    ["workers", `${all.length}, ${portPerWorker ? "each with a port" : "sharing the port"}`] as const,
  ];
  return shown.map(([name, value]) => `${name.padEnd(9)} ${value ?? ""}\n`).join("");
}
