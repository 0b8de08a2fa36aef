/** The bench's command line. */

import { mkdirSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { didYouMean } from "../src/core/suggest.js";
import { nodeAt, type NodeBinary } from "./peers/on-node.js";
import type { BenchOptions } from "./runner/options.js";
import { unsuitable } from "./protocols/suitability.js";
import { scenarios } from "./scenarios/index.js";
import {
  PEER_NAMES,
  PROTOCOL_NAMES,
  SCENARIO_NAMES,
  type PeerName,
  type ProtocolName,
  type ScenarioName,
} from "./types.js";

export interface BenchCommand {
  readonly scenarios: readonly ScenarioName[];
  readonly peers: readonly PeerName[];
  /** Of `peers`, or what attached servers are called. */
  readonly reference: string;
  readonly options: BenchOptions;
  readonly jsonFile?: string;
  readonly reportFile?: string;
  /** That run the servers; none: the one that runs the bench. */
  readonly nodeBinaries: readonly NodeBinary[];
  readonly planOnly: boolean;
}

const DEFAULT_PEERS: PeerName[] = ["starling", "raw", "ws"];

interface Flags {
  peers: PeerName[];
  reference?: string;
  runs: number;
  quick?: true;
  redis?: boolean;
  pin: boolean;
  loadProcesses: number;
  encoding: "json" | "msgpack";
  ack?: true;
  payload: number;
  warmUp?: number;
  seconds?: number;
  sustainSeconds?: number;
  sustainP99: number;
  minutes: number;
  connectRate: number;
  workers: number;
  cold?: true;
  node: NodeBinary[];
  connections?: number;
  channels?: number;
  subscribers?: number;
  publishers?: number;
  rate?: number;
  inFlight?: number;
  nodes?: number;
  profile?: string;
  set: Record<string, string>;
  centrifugo?: string;
  soketi?: string;
  attach?: string[];
  attachAs?: string;
  protocol: ProtocolName;
  attachPids: number[];
  token?: string;
  secret?: string;
  apiUrl?: string;
  apiKey?: string;
  json?: string;
  report?: string;
  plan?: true;
}

/** @throws CommanderError where the arguments are wrong; has then said why */
export function parseCommand(argv: readonly string[], configure?: (program: Command) => void): BenchCommand {
  const program = createProgram();
  configure?.(program);
  program.parse([...argv], { from: "user" });
  const flags = program.opts<Flags>();
  const named = program.args.map((name) => knownScenario(program, name));
  const quick = flags.quick === true;
  const attach = flags.attach;
  const all = SCENARIO_NAMES.filter((name) => scenarios[name].byDefault);
  const attachedName = flags.attachAs ?? attach?.join(", ");
  // Alone, unless others are asked for beside it.
  const asked =
    attach !== undefined && program.getOptionValueSource("peers") === "default" ? [] : flags.peers;
  const brought = (["centrifugo", "soketi"] as const).filter(
    (name) => program.getOptionValueSource(name) === "cli",
  );
  const peers = [...asked, ...brought.filter((name) => !asked.includes(name))];
  const names = [...peers, ...(attachedName === undefined ? [] : [attachedName])];
  const reference = flags.reference ?? (peers.includes("raw") ? "raw" : names[0]!);
  if (!names.includes(reference)) {
    program.error(`error: --reference ${reference} is not among ${names.join(",")}`);
  }
  if (attach === undefined && attachedName !== undefined) {
    program.error("error: --attach-as names what --attach reaches: give its URL");
  }
  if (attachedName !== undefined && peers.includes(attachedName as PeerName)) {
    program.error(`error: --attach-as ${attachedName} is one of --peers: give another name`);
  }
  if (attach !== undefined && named.length === 0) {
    program.error(`error: --attach needs the names of scenarios: ${SCENARIO_NAMES.join(", ")}`);
  }
  const { protocol, secret, ack } = flags;
  if (program.getOptionValueSource("secret") === "cli" && protocol !== "pusher") {
    program.error(`error: --secret is for --protocol pusher; --protocol ${protocol} takes a --token`);
  }
  if (attach !== undefined) {
    const why = unsuitable({
      ...{ protocol, urls: attach, scenarios: named, acknowledged: ack === true },
      ...(secret !== undefined && { secret }),
    });
    if (why !== undefined) program.error(`error: ${why}`);
  }
  if (flags.cold === true && (attach !== undefined || named.some((name) => name !== "connect"))) {
    program.error("error: --cold is for connect alone, and for servers that the bench starts");
  }
  if (new Set(flags.node.map(({ version }) => version)).size < flags.node.length) {
    program.error("error: --node was given twice with the same version: results would not tell them apart");
  }
  const profileFolder = flags.profile;
  if (profileFolder !== undefined) mkdirSync(profileFolder, { recursive: true });
  return {
    scenarios: named.length > 0 ? [...new Set(named)] : all,
    peers,
    reference,
    nodeBinaries: flags.node,
    planOnly: flags.plan === true,
    ...(flags.json !== undefined && { jsonFile: flags.json }),
    ...(flags.report !== undefined && { reportFile: flags.report }),
    options: {
      runs: flags.runs,
      quick,
      pin: flags.pin,
      loadProcesses: flags.loadProcesses,
      encoding: flags.encoding,
      acknowledged: flags.ack === true,
      payloadBytes: flags.payload,
      warmUpSeconds: flags.warmUp ?? (quick ? 0.3 : 2),
      seconds: flags.seconds ?? (quick ? 1 : 5),
      sustainSeconds: flags.sustainSeconds ?? (quick ? 1 : 10),
      sustainP99Ms: flags.sustainP99,
      holdMinutes: flags.minutes,
      connectRate: flags.connectRate,
      workers: flags.workers,
      cold: flags.cold === true,
      settings: flags.set,
      ...given(flags, [
        "redis",
        "centrifugo",
        "soketi",
        "connections",
        "channels",
        "subscribers",
        "publishers",
        "rate",
        "inFlight",
        "nodes",
      ]),
      ...(profileFolder !== undefined && { profileFolder }),
      ...(attach !== undefined && {
        attach: {
          name: attachedName!,
          urls: attach,
          protocol: flags.protocol,
          pids: flags.attachPids,
          ...given(flags, ["token", "secret", "apiUrl", "apiKey"]),
        },
      }),
    },
  };
}

function given<K extends keyof Flags>(
  flags: Flags,
  names: readonly K[],
): Partial<{ [N in K]: NonNullable<Flags[N]> }> {
  return Object.fromEntries(
    names.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  ) as Partial<{
    [N in K]: NonNullable<Flags[N]>;
  }>;
}

function createProgram(): Command {
  const program = new Command("npm run bench --")
    .description(
      "Measures Starling beside what a user would pick instead, on this machine or on running nodes.",
    )
    .argument("[scenarios...]", "what to measure; none: all but idle")
    .configureHelp({ helpWidth: 110 })
    .showHelpAfterError("(--help shows every scenario and option)")
    .exitOverride()
    .addHelpText(
      "after",
      `
Scenarios:
${SCENARIO_NAMES.map((name) => `  ${name.padEnd(10)} ${scenarios[name].description}`).join("\n")}

Figures are medians of --runs, with least and most; ratios are taken run by run, the first peer's against the others'.
"!" marks a figure of which the generator, not the server, was the limit. bench/README.md says how to read it.`,
    );
  program.optionsGroup("Who and how often:");
  program
    .addOption(
      new Option("--peers <list>", `servers: ${PEER_NAMES.join(", ")}; with --attach none but these`)
        .argParser(listOf("peer", PEER_NAMES))
        .default(DEFAULT_PEERS, DEFAULT_PEERS.join(",")),
    )
    .option(
      "--centrifugo <path>",
      "Centrifugo's binary, which makes it one of the servers (also CENTRIFUGO_PATH, for --peers centrifugo)",
      process.env["CENTRIFUGO_PATH"],
    )
    .option(
      "--soketi <folder>",
      "where Soketi was installed, which makes it one of the servers (also SOKETI_PATH, for --peers soketi)",
      process.env["SOKETI_PATH"],
    )
    .option(
      "--reference <peer>",
      "the peer that ratios in --json and --report are against (default: raw, else the first)",
    )
    .option("--runs <n>", "runs of each peer, interleaved", whole(1, 1000), 1)
    .option("--quick", "small numbers and seconds, to see that all works; figures mean nothing")
    .option("--plan", "print what would run and how long it takes, and end");
  program.optionsGroup("Load (each scenario has its own default where none is said):");
  program
    .option(
      "--connections <n>",
      "connections: connect 13,000; reconnect, idle 10,000; http 50",
      whole(1, 1_000_000),
    )
    .option(
      "--connect-rate <n>",
      "connects/s by all load processes; 0: as fast as they are taken",
      whole(0, 1_000_000),
      0,
    )
    .option("--channels <n>", "channels", whole(1, 99_999))
    .option("--subscribers <n>", "subscribers per channel", whole(1, 1_000_000))
    .option("--publishers <n>", "connections that publish", whole(1, 100_000))
    .option(
      "--rate <n>",
      "messages/s by all publishers, sent when due (default: as fast as they are delivered; bridge latency 20,000)",
      whole(1, 10_000_000),
    )
    .option(
      "--in-flight <n>",
      "as fast as possible: messages of a channel under way at a time (fanout 32 or 4, ingest 1,024, history 16); with --ack: commands of a publisher unanswered (1)",
      whole(1, 1_000_000),
    )
    .option("--ack", "publishers ask for acknowledgements, and send as fast as these come")
    .option("--payload <bytes>", "bytes of each message's content, as text", whole(32, 1_000_000), 128)
    .addOption(
      new Option("--encoding <name>", "of Starling's connections")
        .choices(["json", "msgpack"])
        .default("json"),
    )
    .option("--seconds <n>", "measured seconds (default: 5)", seconds)
    .option("--warm-up <n>", "seconds of load before those (default: 2)", seconds)
    .option("--sustain-seconds <n>", "seconds for which a rate must hold (default: 10)", seconds)
    .option("--sustain-p99 <ms>", "p99 under which a rate must stay", whole(1, 60_000), 100)
    .option("--minutes <n>", "how long idle and connect --cold hold their connections", seconds, 1)
    .option(
      "--load-processes <n>",
      "processes that make the load; each holds as many connections as it may open files",
      whole(1, 64),
      1,
    );
  program.optionsGroup("Servers that are started:");
  program
    .option("--nodes <n>", "nodes (bridge 2 and 3, history 2, others 1)", whole(1, 16))
    .option(
      "--node <path>",
      "a Node that runs the servers (default: the one that runs the bench); several: each server on each, side by side",
      (path, before: NodeBinary[]) => [...before, node(path)],
      [],
    )
    .option(
      "--cold",
      "connect: the first connections of servers that have just started, and memory without a collection",
    )
    .option("--workers <n>", "idle: processes that share a port (starling)", whole(1, 64), 1)
    .option(
      "--redis",
      "fanout, ingest and http with a Redis too (default: a single node in memory, as `npm start`)",
    )
    .option("--no-redis", "every scenario of a single node without a Redis")
    .option("--no-pin", "do not bind servers and load to cores of their own")
    .option(
      "--set <name=value>",
      "a flag of `starling serve`, such as bus-shards=4; may be repeated",
      setting,
      {},
    )
    .option("--profile <folder>", "write a CPU profile of each node in the first run");
  program.optionsGroup("Servers that run already:");
  program
    .option(
      "--attach <urls>",
      "ws:// or wss://, separated by commas; bridge publishes to the first, subscribes at the others. With --peers beside those",
      urls,
    )
    .option("--attach-as <name>", "what they are called in results (default: their URLs)")
    .addOption(
      new Option("--protocol <name>", "what they speak").choices(PROTOCOL_NAMES).default("starling-json"),
    )
    .option(
      "--attach-pids <list>",
      "their processes, where they are on this machine, for CPU and memory",
      pids,
      [],
    )
    .option(
      "--token <jwt>",
      "presented by every connection (also STARLING_BENCH_TOKEN)",
      process.env["STARLING_BENCH_TOKEN"],
    )
    .option(
      "--secret <secret>",
      "pusher: the app's, to subscribe to private channels and publish in them (also STARLING_BENCH_SECRET)",
      process.env["STARLING_BENCH_SECRET"],
    )
    .option("--api-url <url>", "http: of the server API; pusher: http://127.0.0.1:6001/apps/ID")
    .option(
      "--api-key <key>",
      "http: for the server API (also STARLING_BENCH_API_KEY)",
      process.env["STARLING_BENCH_API_KEY"],
    );
  program.optionsGroup("Output:");
  program.option("--json <file>", "the whole result").option("--report <file>", "an HTML page with plots");
  return program;
}

function knownScenario(program: Command, name: string): ScenarioName {
  const found = SCENARIO_NAMES.find((known) => known === name);
  if (found === undefined)
    return program.error(`error: there is no scenario "${name}": ${hint(name, SCENARIO_NAMES)}`);
  return found;
}

function hint(name: string, known: readonly string[]): string {
  return didYouMean(name, known, `there are ${known.join(", ")}`);
}

function listOf<N extends string>(what: string, known: readonly N[]): (text: string) => N[] {
  return (text) =>
    text.split(",").map((part) => {
      const name = known.find((candidate) => candidate === part.trim());
      if (name === undefined)
        throw new InvalidArgumentError(`There is no ${what} "${part}": ${hint(part, known)}`);
      return name;
    });
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text.replaceAll("_", ""));
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
  };
}

function node(path: string): NodeBinary {
  try {
    return nodeAt(path);
  } catch (error) {
    throw new InvalidArgumentError(`It is no Node that runs here: ${(error as Error).message}.`);
  }
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError("Give a number above 0, at most 86400.");
}

function setting(text: string, before: Record<string, string>): Record<string, string> {
  const found = /^-{0,2}([a-z][a-z0-9-]*)=(.*)$/.exec(text);
  if (found === null) throw new InvalidArgumentError("Give name=value, such as bus-shards=4.");
  return { ...before, [found[1]!]: found[2]! };
}

function urls(text: string): string[] {
  return text.split(",").map((part) => {
    const url = part.trim();
    if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) {
      throw new InvalidArgumentError(`"${part}" is not a URL that begins with ws:// or wss://.`);
    }
    return url;
  });
}

function pids(text: string): number[] {
  return text.split(",").map(whole(1, 4_194_304));
}
