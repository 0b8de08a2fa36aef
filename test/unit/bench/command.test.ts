import { describe, expect, it } from "vitest";
import { parseCommand } from "../../../bench/command.js";
import { peerByName } from "../../../bench/peers/index.js";
import { participants } from "../../../bench/runner/run.js";
import { withoutSecrets } from "../../../bench/runner/secret.js";
import { placeOn } from "../../../bench/runner/placement.js";
import { sourcesFor } from "../../../bench/scenarios/case.js";
import { scenarios } from "../../../bench/scenarios/index.js";

function refusal(argv: readonly string[]): string {
  let said = "";
  try {
    parseCommand(argv, (program) => program.configureOutput({ writeErr: (text) => (said += text) }));
  } catch {
    return said;
  }
  throw new Error(`${argv.join(" ")} was taken`);
}

describe("the command line", () => {
  it("runs every scenario but idle where none is named", () => {
    const { scenarios: named, peers, reference } = parseCommand([]);
    expect(named).toHaveLength(Object.keys(scenarios).length - 1);
    expect(named).not.toContain("idle");
    expect([...peers, reference]).toEqual(["starling", "raw", "ws", "raw"]);
  });

  it("names the nearest scenario, and all where none is near", () => {
    expect(refusal(["fanot"])).toContain('no scenario "fanot": did you mean fanout?');
    expect(refusal(["zzzzzzzz"])).toContain("there are connect, fanout");
  });

  it.each([
    [["--peers", "starling,wz"], "did you mean ws?"],
    [["--runs", "0"], "whole number from 1 to 1000"],
    [["--seconds", "-1"], "above 0"],
    [["--payload", "31"], "from 32"],
    [["fanout", "--attach", "http://x"], "ws:// or wss://"],
    [["--attach", "ws://127.0.0.1:1"], "needs the names of scenarios"],
    [["--set", "bus shards"], "name=value"],
    [["--peers", "starling", "--reference", "ws"], "not among"],
    [["--attach-as", "x"], "give its URL"],
    [["fanout", "--peers", "raw", "--attach", "ws://127.0.0.1:1", "--attach-as", "raw"], "another name"],
    [
      ["fanout", "--peers", "raw", "--attach", "ws://127.0.0.1:1", "--reference", "ws"],
      "not among raw,ws://",
    ],
    [["connect", "fanout", "--cold"], "for connect alone"],
    [["connect", "--cold", "--attach", "ws://127.0.0.1:1"], "that the bench starts"],
    [["--node", process.execPath, "--node", process.execPath], "twice with the same version"],
    [["--node", "/nowhere/node"], "no Node that runs here"],
    [["--rats", "1"], "unknown option"],
  ])("refuses %o", (argv, why) => {
    expect(refusal(argv)).toContain(why);
  });

  it("makes the cases small with --quick, and what is said explicitly stands", () => {
    const { options } = parseCommand(["fanout", "--quick", "--seconds", "3", "--channels", "2"]);
    expect(options).toMatchObject({ seconds: 3, warmUpSeconds: 0.3 });
    expect(scenarios.fanout.cases(options).map(({ variant }) => variant)).toEqual(["2 x 1,000"]);
  });

  it("connects to servers that have just started with --cold, and does nothing else", () => {
    const { options } = parseCommand(["connect", "--cold"]);
    expect(scenarios.connect.cases(options).map(({ variant }) => variant)).toEqual([
      "10,000 connections, cold",
    ]);
  });

  it("attaches to servers alone, or beside the peers that are named", () => {
    const attach = ["ingest", "--attach", "ws://127.0.0.1:1"];
    const peersOf = (...argv: string[]) => {
      const { peers, reference } = parseCommand([...attach, ...argv]);
      return [peers, reference];
    };
    expect(peersOf()).toEqual([[], "ws://127.0.0.1:1"]);
    expect(peersOf("--peers", "starling,raw")).toEqual([["starling", "raw"], "raw"]);
    expect(peersOf("--peers", "starling", "--attach-as", "theirs", "--reference", "theirs")).toEqual([
      ["starling"],
      "theirs",
    ]);
  });

  it("takes Centrifugo in where its binary is given, beside the others or what is attached to", () => {
    const given = ["ingest", "--centrifugo", "/opt/centrifugo"];
    const peersOf = (...argv: string[]) => parseCommand([...given, ...argv]).peers;
    expect(peersOf()).toEqual(["starling", "raw", "ws", "centrifugo"]);
    expect(peersOf("--peers", "centrifugo,raw")).toEqual(["centrifugo", "raw"]);
    expect(peersOf("--attach", "ws://127.0.0.1:1")).toEqual(["centrifugo"]);
    expect(parseCommand(given).options.centrifugo).toBe("/opt/centrifugo");
  });

  it("takes Soketi in where its folder is given", () => {
    const { peers, options } = parseCommand(["ingest", "--peers", "raw-pusher", "--soketi", "/opt/soketi"]);
    expect(peers).toEqual(["raw-pusher", "soketi"]);
    expect(options.soketi).toBe("/opt/soketi");
  });

  it("leaves out of idle with several workers who cannot run as several", async () => {
    const { options } = parseCommand(["idle", "--workers", "6"]);
    const peers = [await peerByName("starling"), await peerByName("raw")];
    const [idle] = scenarios.idle.cases(options);
    const { running, skipped } = participants(idle!, peers, options);
    expect(running.map(({ name }) => name)).toEqual(["starling"]);
    expect(skipped).toEqual([expect.stringMatching(/6 workers: raw: no workers$/)]);
  });

  it("connects from several addresses of this machine to a server on it, and from one to others", () => {
    const near = "ws://127.0.0.1:8000";
    expect(sourcesFor(100_000, [near])).toBe(25);
    expect(sourcesFor(100_000, [near, "ws://127.0.0.1:8001"])).toBe(25);
    expect(sourcesFor(100_000, ["wss://edge.example"])).toBe(1);
    expect(sourcesFor(100_000, [near, "wss://edge.example"])).toBe(1);
  });

  it("compares both shapes at one load for all too, unless another is asked for", () => {
    const variants = (...argv: string[]) =>
      scenarios.fanout.cases(parseCommand(["fanout", ...argv]).options).map(({ variant }) => variant);
    expect(variants()).toEqual(["1 x 1,000", "1,000 x 10", "1 x 1,000, 3,000/s", "1,000 x 10, 30,000/s"]);
    expect(variants("--rate", "100")).toEqual(["1 x 1,000, 100/s", "1,000 x 10, 100/s"]);
    expect(variants("--ack")).toEqual(["1 x 1,000, acknowledged", "1,000 x 10, acknowledged"]);
  });

  it("shows no secret", () => {
    const argv = ["http", "--api-key", "k1", "--token=t1", "--set", "jwt-secret=s1", "--seconds", "3"];
    expect(withoutSecrets(argv).join(" ")).toBe(
      "http --api-key ... --token=... --set jwt-secret=... --seconds 3",
    );
  });
});

describe("placement", () => {
  it("gives servers and load cores of their own", () => {
    expect(placeOn(1, 1)).toBeUndefined();
    expect(placeOn(2, 3)).toMatchObject({ serverCores: [0], loadCores: [1] });
    expect(placeOn(8, 3)).toMatchObject({ serverCores: [0, 1, 2], loadCores: [3, 4, 5, 6, 7] });
  });
});
