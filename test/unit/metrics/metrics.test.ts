import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AppCounts, Stats } from "../../../src/core/stats.js";
import type { CountedApp } from "../../../src/metrics/apps.js";
import { createMetrics, type Metrics, type MetricsOptions } from "../../../src/metrics/metrics.js";
import { CLOSE_REASONS } from "../../../src/core/closing.js";
import type { RejectReason } from "../../../src/core/rejects.js";
import { ERROR_CODES } from "../../../src/core/errors.js";

interface Family {
  readonly type: string;
  readonly help: string;
  /** By sample name and labels, as they stand: `name{a="b"}`. */
  readonly samples: Map<string, number>;
}

// prom-client spells it "Nan"; Prometheus reads numbers whatever their case.
const HELP = /^# HELP ([a-z][a-z0-9_]*) (\S.*)$/;
const TYPE = /^# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram|summary)$/;
const SAMPLE =
  /^([a-z][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\}))?)*\})? (-?[0-9.e+-]+|Nan|[+-]Inf)$/;

/** The Prometheus text format, version 0.0.4, with everything refused that it leaves to taste. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  expect(text.endsWith("\n")).toBe(true);
  const lines = text.split("\n").filter((line) => line !== "");
  let name: string | undefined;
  for (let i = 0; i < lines.length; i++) {
    const help = HELP.exec(lines[i]!);
    if (help !== null) {
      const type = TYPE.exec(lines[++i]!);
      if (type === null || type[1] !== help[1])
        throw new Error(`no TYPE of ${help[1]} after its HELP: ${lines[i]}`);
      name = help[1]!;
      if (families.has(name)) throw new Error(`${name} is there twice`);
      families.set(name, { help: help[2]!, type: type[2]!, samples: new Map() });
      continue;
    }
    const sample = SAMPLE.exec(lines[i]!);
    if (sample === null || name === undefined) throw new Error(`not a sample: ${lines[i]}`);
    const family = families.get(name)!;
    const suffix = sample[1]!.slice(name.length);
    const suffixes = { histogram: ["_bucket", "_sum", "_count"], summary: ["", "_sum", "_count"] }[
      family.type
    ] ?? [""];
    if (!sample[1]!.startsWith(name) || !suffixes.includes(suffix))
      throw new Error(`${sample[1]} under ${name}`);
    const key = `${sample[1]}${sample[2] ?? ""}`;
    if (family.samples.has(key)) throw new Error(`${key} is there twice`);
    family.samples.set(key, Number(sample[3]!.replace("Inf", "Infinity")));
  }
  return families;
}

/** Bounds and cumulative counts. */
function bucketsOf(family: Family): [number, number][] {
  const buckets: [number, number][] = [];
  for (const [key, value] of family.samples) {
    const bound = /_bucket\{.*le="([^"]+)".*\}$/.exec(key)?.[1];
    if (bound !== undefined) buckets.push([bound === "+Inf" ? Infinity : Number(bound), value]);
  }
  return buckets;
}

describe("metrics", () => {
  let stats: Stats;
  let metrics: Metrics;
  const opened: Metrics[] = [];

  function create(options: Partial<MetricsOptions> = {}): Metrics {
    const made = createMetrics({ stats, gauges: { channels: () => 3, ready: () => true }, ...options });
    opened.push(made);
    return made;
  }

  const scrape = async (from = metrics) => parse(await from.text());

  async function valueOf(sample: string): Promise<number | undefined> {
    const families = await scrape();
    return [...families.values()].find(({ samples }) => samples.has(sample))?.samples.get(sample);
  }

  beforeEach(() => {
    stats = new Stats();
    metrics = create();
  });

  afterEach(() => {
    for (const one of opened.splice(0)) one.close();
  });

  it("are text of the type that Prometheus asks for", async () => {
    expect(metrics.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect((await scrape()).size).toBeGreaterThan(30);
  });

  it("end counters, and only counters, in _total", async () => {
    const own = [...(await scrape())].filter(([name]) => name.startsWith("starling_"));
    expect(own.filter(([, { type }]) => type === "counter").length).toBeGreaterThan(10);
    for (const [name, { type }] of own) expect(name.endsWith("_total"), name).toBe(type === "counter");
  });

  it("have the values of Stats, each under its name, at every scrape", async () => {
    const fields = {
      connections: "starling_connections",
      connects: "starling_connects_total",
      subscriptions: "starling_subscriptions",
      presenceJoins: "starling_presence_joins_total",
      publicationsDelivered: "starling_publications_delivered_total",
      publicationsUnheard: "starling_publications_unheard_total",
      publicationsStale: "starling_publications_stale_total",
      publicationsFailed: "starling_publications_failed_total",
      gaps: "starling_gaps_total",
      recovered: "starling_recoveries_total",
      unrecovered: "starling_recoveries_failed_total",
      historyReads: "starling_history_reads_total",
      slowSkips: "starling_slow_skips_total",
      heartbeatTimeouts: "starling_heartbeat_timeouts_total",
      slowCloses: "starling_slow_closes_total",
      dropReports: "starling_drop_reports_total",
      resumed: "starling_sessions_resumed_total",
      superseded: "starling_sessions_superseded_total",
      sessionFaults: "starling_session_faults_total",
      draining: "starling_draining",
      drained: "starling_drained_total",
      bridgeReconnects: "starling_bridge_reconnects_total",
      envelopesSkipped: "starling_envelopes_skipped_total",
      registrySize: "starling_registry_size",
    } as const;
    // Every plain number that core counts is here: one that is added must be exported.
    const counted = Object.entries(stats).filter(([, value]) => typeof value === "number");
    expect(Object.keys(fields).sort()).toEqual(counted.map(([field]) => field).sort());
    for (const round of [0, 1]) {
      const names = Object.entries(fields) as [keyof typeof fields, string][];
      for (const [index, [field]] of names.entries()) stats[field] = round * 100 + index + 1;
      const families = await scrape();
      for (const [index, [, name]] of names.entries()) {
        expect(families.get(name)?.samples.get(name), name).toBe(round * 100 + index + 1);
      }
    }
  });

  it("count connections, subscriptions, messages and bytes by protocol and codec", async () => {
    const json = stats.countFraming("starling", "json");
    Object.assign(json, { messagesIn: 1, messagesOut: 20, bytesIn: 300, bytesOut: 4000 });
    Object.assign(stats.countFraming("starling", "msgpack"), { messagesIn: 5 });
    Object.assign(stats.countFraming("echo", "json"), { messagesIn: 7, connections: 2, subscriptions: 8 });
    const labels = (codec: string, protocol = "starling") => `{protocol="${protocol}",codec="${codec}"}`;
    expect(await valueOf(`starling_messages_in_total${labels("json")}`)).toBe(1);
    expect(await valueOf(`starling_messages_in_total${labels("msgpack")}`)).toBe(5);
    expect(await valueOf(`starling_messages_in_total${labels("json", "echo")}`)).toBe(7);
    expect(await valueOf(`starling_protocol_connections${labels("json", "echo")}`)).toBe(2);
    expect(await valueOf(`starling_protocol_subscriptions${labels("json", "echo")}`)).toBe(8);
    expect(await valueOf(`starling_messages_out_total${labels("json")}`)).toBe(20);
    expect(await valueOf(`starling_bytes_in_total${labels("json")}`)).toBe(300);
    expect(await valueOf(`starling_bytes_out_total${labels("json")}`)).toBe(4000);
  });

  it("count disconnects by protocol and reason", async () => {
    stats.countFraming("starling", "json");
    stats.countFraming("echo", "json");
    for (const reason of ["client", "client", "lost", "slow_reader", "disconnected"] as const) {
      stats.disconnect("starling", reason);
    }
    stats.disconnect("echo", "client");
    const { samples } = (await scrape()).get("starling_disconnects_total")!;
    const of = (protocol: string, reason: string) =>
      samples.get(`starling_disconnects_total{protocol="${protocol}",reason="${reason}"}`);
    const found = ["client", "lost", "slow_reader", "disconnected"].map((reason) => of("starling", reason));
    expect(found).toEqual([2, 1, 1, 1]);
    expect(of("echo", "client")).toBe(1);
  });

  it("show reasons at 0 before the first, so that a rate sees the first", async () => {
    stats.countFraming("starling", "json");
    for (const reason of [...Object.keys(CLOSE_REASONS), "client", "lost"]) {
      const name = `starling_disconnects_total{protocol="starling",reason="${reason}"}`;
      expect(await valueOf(name)).toBe(0);
    }
    for (const reason of Object.keys(ERROR_CODES)) {
      expect(await valueOf(`starling_rejects_total{reason="${reason}"}`)).toBe(0);
    }
  });

  it("count rejects by known reasons, whatever else gets in", async () => {
    for (const reason of ["origin", "node_full", "bad_channel", "bad_channel"] as const) stats.reject(reason);
    for (let i = 0; i < 1000; i++) stats.reject(`room-${i}"} evil{` as RejectReason);
    const { samples } = (await scrape()).get("starling_rejects_total")!;
    const of = (reason: string) => samples.get(`starling_rejects_total{reason="${reason}"}`);
    expect([of("origin"), of("node_full"), of("bad_channel")]).toEqual([1, 1, 2]);
    expect(samples.size).toBeLessThan(50);
  });

  it.each([
    ["starling_publish_to_deliver_seconds", "deliverySeconds"],
    ["starling_bridge_round_trip_seconds", "bridgeRoundTripSeconds"],
    ["starling_bridge_batch_items", "batchItems"],
    ["starling_bridge_publish_seconds", "publishSeconds"],
  ] as const)("have %s as a cumulative histogram", async (name, field) => {
    const values = [0, 0.0005, 0.0006, 0.3, 1, 1, 7, 9.5, 600, 5000];
    for (const value of values) stats[field].observe(value);
    stats[field].observe(2, 5);
    const all = [...values, 2, 2, 2, 2, 2];
    const family = (await scrape()).get(name)!;
    expect(family.type).toBe("histogram");
    const buckets = bucketsOf(family);
    expect(buckets.map(([bound]) => bound)).toEqual([...stats[field].bounds, Infinity]);
    for (const [bound, count] of buckets) {
      expect(count, `le ${bound}`).toBe(all.filter((value) => value <= bound).length);
    }
    expect(family.samples.get(`${name}_count`)).toBe(all.length);
    expect(family.samples.get(`${name}_sum`)).toBeCloseTo(all.reduce((sum, value) => sum + value));
  });

  it("have every histogram cumulative, with +Inf equal to the count", async () => {
    const histograms = [...(await scrape())].filter(([, { type }]) => type === "histogram");
    expect(histograms.length).toBeGreaterThanOrEqual(4);
    // One by labels is empty as long as there is nothing to label.
    const own = histograms.filter(([name, { samples }]) => name.startsWith("starling_") && samples.size > 0);
    for (const [name, family] of own) {
      const buckets = bucketsOf(family);
      const counts = buckets.map(([, count]) => count);
      expect(buckets.map(([bound]) => bound)).toEqual(buckets.map(([bound]) => bound).sort((a, b) => a - b));
      expect(counts).toEqual([...counts].sort((a, b) => a - b));
      expect(buckets.at(-1)).toEqual([Infinity, family.samples.get(`${name}_count`)]);
    }
  });

  it("have the gauges that are asked for at the scrape", async () => {
    let up = true;
    let ready = true;
    metrics = create({ gauges: { channels: () => 12, ready: () => ready, bridgeUp: () => up } });
    const read = async () =>
      Promise.all(["starling_channels", "starling_ready", "starling_bridge_up"].map((name) => valueOf(name)));
    expect(await read()).toEqual([12, 1, 1]);
    up = ready = false;
    expect(await read()).toEqual([12, 0, 0]);
  });

  it("have no bridge_up where there is no way to tell", async () => {
    expect((await scrape()).has("starling_bridge_up")).toBe(false);
  });

  it("see a blocked event loop, in the histogram and in the maximum", async () => {
    const idle = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const over = (families: Map<string, Family>) => {
      const buckets = bucketsOf(families.get("starling_event_loop_lag_seconds")!);
      return buckets.at(-1)![1] - buckets.find(([bound]) => bound === 0.1)![1];
    };
    // Once to start the timer's clock, whatever the tests before took.
    await idle(300);
    const before = over(await scrape());
    const until = performance.now() + 400;
    while (performance.now() < until);
    await idle(300);
    const families = await scrape();
    const stalls = over(families) - before;
    const longest = families
      .get("starling_event_loop_lag_max_seconds")!
      .samples.get("starling_event_loop_lag_max_seconds")!;
    expect(longest).toBeGreaterThanOrEqual(0.1);
    expect(stalls).toBeGreaterThanOrEqual(1);
    const [p50] = families.get("starling_event_loop_lag_p50_seconds")!.samples.values();
    expect(p50).toBeLessThanOrEqual(longest);
  });

  it("tell the event loop's lag once: not also as prom-client does, with its monitor's own interval in it", async () => {
    const names = [...(await scrape()).keys()].filter((name) => name.startsWith("nodejs_eventloop"));
    expect(names).toEqual(["nodejs_eventloop_lag_seconds"]);
  });

  it("have what dashboards expect of any Node process, under its usual name", async () => {
    const families = await scrape();
    for (const name of [
      "process_cpu_seconds_total",
      "process_resident_memory_bytes",
      "nodejs_heap_size_used_bytes",
    ]) {
      expect(families.has(name), name).toBe(true);
    }
  });

  it("keep two nodes in one process apart, and name them", async () => {
    const other = create({ stats: new Stats(), nodeId: 'n"1', version: "1.2.3" });
    stats.connections = 5;
    expect((await scrape()).get("starling_connections")!.samples.get("starling_connections")).toBe(5);
    const families = await scrape(other);
    expect(families.get("starling_connections")!.samples.get("starling_connections")).toBe(0);
    expect([...families.get("starling_info")!.samples.keys()]).toEqual([
      'starling_info{node="n\\"1",version="1.2.3"}',
    ]);
  });

  const PUBLISHED = "starling_app_publications_total";

  function counted(id: string, counts: Partial<AppCounts>): CountedApp {
    return { id, connections: 1, counts: Object.assign(new AppCounts(), counts) };
  }

  it("count apps by names that stay, and what they counted once is never taken back", async () => {
    let all = Array.from({ length: 101 }, (_, at) =>
      counted(`app-${String(at).padStart(3, "0")}`, { clientPublications: 10 }),
    );
    const metrics = create({ gauges: { channels: () => 0, ready: () => true, apps: () => all } });
    const published = async (app: string): Promise<number | undefined> =>
      (await scrape(metrics)).get(PUBLISHED)!.samples.get(`${PUBLISHED}{app="${app}",source="client"}`);
    expect([await published("app-099"), await published("other")]).toEqual([10, 10]);
    all = [counted("app-", { clientPublications: 10 }), ...all];
    expect([await published("app-099"), await published("app-"), await published("other")]).toEqual([
      10,
      undefined,
      20,
    ]);
    // One was removed, another was too and is there again.
    all = all.filter(({ id }) => id !== "app-" && id !== "app-100");
    all.push(counted("app-100", { clientPublications: 1 }));
    expect(await published("other")).toBe(21);
  });

  it("count apps by name, and beyond a hundred of them together", async () => {
    const all = Array.from({ length: 103 }, (_, at) => 102 - at).map((index) =>
      counted(`app-${String(index).padStart(3, "0")}`, { apiPublications: index, subscriptions: 2 }),
    );
    const families = await scrape(
      create({ gauges: { channels: () => 0, ready: () => true, apps: () => all } }),
    );
    const { samples } = families.get("starling_app_connections")!;
    expect(samples.size).toBe(101);
    expect(samples.get('starling_app_connections{app="app-099"}')).toBe(1);
    expect(samples.get('starling_app_connections{app="other"}')).toBe(3);
    const subscriptions = families.get("starling_app_subscriptions")!;
    expect(subscriptions.type).toBe("gauge");
    expect(subscriptions.samples.get('starling_app_subscriptions{app="other"}')).toBe(6);
    const published = families.get(PUBLISHED)!;
    expect(published.type).toBe("counter");
    expect(published.samples.get(`${PUBLISHED}{app="other",source="api"}`)).toBe(100 + 101 + 102);
    expect(await scrape()).not.toHaveProperty("starling_app_connections");
  });

  it("tell of an app all that it counts, from the start", async () => {
    const names = Object.keys(new AppCounts());
    const counts = Object.fromEntries(names.map((name, index) => [name, index + 1]));
    const families = await scrape(
      create({ gauges: { channels: () => 0, ready: () => true, apps: () => [counted("a", counts)] } }),
    );
    const told = [...families.entries()].flatMap(([name, { samples }]) =>
      name.startsWith("starling_app_") ? [...samples] : [],
    );
    expect(new Set(told.map(([, value]) => value))).toEqual(new Set(Object.values(counts)));
    expect(Object.fromEntries(told)).toMatchObject({
      'starling_app_connections{app="a"}': 1,
      'starling_app_publications_total{app="a",source="client"}': counts["clientPublications"],
      'starling_app_deliveries_total{app="a"}': counts["deliveries"],
      'starling_app_signatures_total{app="a",result="valid"}': counts["signaturesValid"],
      'starling_app_signatures_total{app="a",result="refused"}': counts["signaturesRefused"],
      'starling_app_refusals_total{app="a",reason="app_full"}': counts["refusedFull"],
      'starling_app_refusals_total{app="a",reason="app_disabled"}': counts["refusedDisabled"],
      'starling_app_refusals_total{app="a",reason="origin"}': counts["refusedOrigin"],
      'starling_app_refusals_total{app="a",reason="client_event"}': counts["clientEventsRefused"],
      'starling_app_refusals_total{app="a",reason="client_event_rate"}': counts["clientEventsOverRate"],
    });
  });

  it("count requests of the HTTP APIs by route and status, and how long they took", async () => {
    const events = stats.countRoute("pusher", "/events", [200, 401]);
    stats.countRoute("starling", "/v1/publish", [200]);
    events.answered(200, 0.002);
    events.answered(200, 0.3);
    events.answered(413, 0.0001);
    const labels = 'api="pusher",route="/events"';
    const families = await scrape();
    expect(Object.fromEntries(families.get("starling_api_requests_total")!.samples)).toEqual({
      [`starling_api_requests_total{${labels},status="200"}`]: 2,
      [`starling_api_requests_total{${labels},status="401"}`]: 0,
      [`starling_api_requests_total{${labels},status="413"}`]: 1,
      'starling_api_requests_total{api="starling",route="/v1/publish",status="200"}': 0,
    });
    const { type, samples } = families.get("starling_api_request_seconds")!;
    expect(type).toBe("histogram");
    const within = (le: string) => samples.get(`starling_api_request_seconds_bucket{${labels},le="${le}"}`);
    expect(["0.001", "0.0025", "0.25", "1", "+Inf"].map(within)).toEqual([1, 2, 2, 3, 3]);
    expect(samples.get(`starling_api_request_seconds_count{${labels}}`)).toBe(3);
    expect(samples.get(`starling_api_request_seconds_sum{${labels}}`)).toBeCloseTo(0.3021);
  });
});
