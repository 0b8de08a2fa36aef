/** The dashboards and rules as they are committed, by themselves: no Prometheus, no Grafana. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { dashboardQueries, metricsIn, ruleQueries, withoutCondition } from "../../grafana/check/queries.js";
import { generate } from "../../grafana/src/generate.js";
import { ALERTS, panelIdOf } from "../../grafana/src/runbooks.js";
import { Stats } from "../../src/core/stats.js";
import { createMetrics } from "../../src/metrics/metrics.js";

const root = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string): string => readFileSync(root(path), "utf8");

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: {
    readonly defaults: { readonly unit?: string; readonly thresholds?: { steps: object[] } };
  };
  readonly links?: readonly { readonly url: string }[];
  readonly targets?: readonly { readonly expr: string; readonly refId: string }[];
}

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: {
    readonly summary?: string;
    readonly description?: string;
    readonly runbook_url?: string;
  };
}

const main = JSON.parse(read("grafana/dashboards/starling.json")) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
};
const panels = main.panels.filter(({ type }) => type !== "row");

const alerts = readdirSync(root("prometheus/rules")).flatMap((file) =>
  (parse(read(`prometheus/rules/${file}`)) as { groups: { rules: Rule[] }[] }).groups
    .flatMap(({ rules }) => rules)
    .filter(({ alert }) => alert !== undefined),
);

/** As GitHub makes anchors of headings. */
const anchors = [...read("docs/operations.md").matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
  heading!
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-"),
);

describe("the dashboards", () => {
  const operations = read("docs/operations.md");

  it("are what grafana/src and docs/operations.md make of them: npx tsx grafana/generate.ts", () => {
    const made = generate(operations);
    expect(readdirSync(root("grafana/dashboards")).sort()).toEqual([...made.keys()].sort());
    for (const [file, json] of made) expect(read(`grafana/dashboards/${file}`), file).toBe(json);
  });

  it("are not made where a runbook is missing", () => {
    expect(() => generate(operations.replace("### StarlingGaps\n", ""))).toThrow(
      'docs/operations.md has no heading "### StarlingGaps"',
    );
  });

  it("say of each panel what it shows, in a unit", () => {
    expect(panels.length).toBeGreaterThan(40);
    for (const { title, description, fieldConfig } of panels) {
      expect(description?.length ?? 0, title).toBeGreaterThan(20);
      expect(fieldConfig.defaults.unit, title).toBeTypeOf("string");
    }
  });

  it("answer in the top row, coloured, whether users are well", () => {
    const top = panels.filter(({ gridPos }) => gridPos.y === 0);
    expect(top.map(({ title }) => title)).toEqual([
      "Alerts firing",
      "Nodes not ready",
      "Bus",
      "Connections",
      "Delivery p99",
      "Losses told, a minute",
      "Refusals, a second",
      "Connections lost, a second",
    ]);
    const coloured = top.filter(({ title }) => title !== "Connections");
    for (const { title, fieldConfig } of coloured) {
      expect(fieldConfig.defaults.thresholds?.steps.length, title).toBeGreaterThan(1);
    }
  });

  it("have a row for each part, and no two panels in one place", () => {
    expect(main.panels.filter(({ type }) => type === "row").map(({ title }) => title)).toEqual([
      "Fleet",
      "Connection life cycle",
      "Delivery latency",
      "Recovery and gaps",
      "Bridge to Redis",
      "Backpressure and limits",
      "Apps",
      "Pusher",
      "Envoy",
      "Process",
    ]);
    const taken = new Set<string>();
    for (const { title, gridPos } of main.panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(x, title).toBeLessThan(24);
          expect(taken.has(`${x},${y}`), `${title} at ${x},${y}`).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
    }
  });

  it("use no variable that they do not define", () => {
    const defined = new Set(main.templating.list.map(({ name }) => name));
    expect(defined).toEqual(new Set(["datasource", "job", "node", "envoy", "cluster"]));
    for (const { title, targets = [] } of panels) {
      expect(targets.length, title).toBeGreaterThan(0);
      for (const { expr } of targets) {
        const used = [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name!);
        for (const name of used) expect(name === "__rate_interval" || defined.has(name), expr).toBe(true);
      }
    }
  });

  it("lead to runbooks that are there", () => {
    const runbooks = JSON.parse(read("grafana/dashboards/starling-runbooks.json")) as { panels: Panel[] };
    const titles = new Map(runbooks.panels.map(({ id, title }) => [id, title]));
    for (const alert of ALERTS) expect(titles.get(panelIdOf(alert))).toBe(alert);
    const links = panels.flatMap((panel) => panel.links ?? []);
    expect(links.length).toBeGreaterThan(30);
    for (const { url } of links) {
      const [, id] = /^\/d\/starling-runbooks\/\?viewPanel=panel-(\d+)$/.exec(url) ?? [];
      expect(titles.has(Number(id)), url).toBe(true);
    }
  });

  it("and the rules name metrics that a node has", async () => {
    const metrics = createMetrics({
      stats: new Stats(),
      gauges: { channels: () => 0, ready: () => true, bridgeUp: () => true, apps: () => [] },
    });
    const text = await metrics.text();
    metrics.close();
    const own = metricsIn([...dashboardQueries("1m"), ...ruleQueries()]).filter((name) =>
      /^(starling|process)_/.test(name),
    );
    expect(own.length).toBeGreaterThan(40);
    for (const name of own) {
      const family = name.replace(/_(bucket|sum|count)$/, "");
      expect(text, name).toMatch(new RegExp(`^# HELP (${name}|${family}) `, "m"));
    }
  });

  it("show every metric of the node's own", async () => {
    const metrics = createMetrics({
      stats: new Stats(),
      gauges: { channels: () => 0, ready: () => true, bridgeUp: () => true, apps: () => [] },
    });
    const text = await metrics.text();
    metrics.close();
    const shown = dashboardQueries("1m")
      .map(({ expr }) => expr)
      .join("\n");
    const hidden = [...text.matchAll(/^# HELP (starling_\w+) /gm)]
      .map(([, name]) => name!)
      .filter((name) => !shown.includes(name));
    // A histogram has the same.
    expect(hidden).toEqual(["starling_event_loop_lag_p50_seconds", "starling_event_loop_lag_p99_seconds"]);
  });
});

describe("the alerts", () => {
  it("are those that the dashboards know", () => {
    expect(alerts.map(({ alert }) => alert).sort()).toEqual([...ALERTS].sort());
  });

  it.each(alerts.map((rule) => [rule.alert!, rule] as const))(
    "%s says what, why and what to do",
    (name, rule) => {
      expect(rule.annotations?.summary?.length).toBeGreaterThan(10);
      expect(rule.annotations?.description?.length).toBeGreaterThan(20);
      expect(["critical", "warning"]).toContain(rule.labels?.severity);
      const [, anchor] = /^docs\/operations\.md#([\w-]+)$/.exec(rule.annotations?.runbook_url ?? "") ?? [];
      expect(anchor).toBe(name.toLowerCase());
      expect(anchors).toContain(anchor);
    },
  );

  it("are each seen quiet and firing by promtool", () => {
    const tests = readdirSync(root("prometheus/tests")).map((file) => read(`prometheus/tests/${file}`));
    const seen = tests.join("\n");
    for (const name of ALERTS) {
      const checks = [
        ...seen.matchAll(new RegExp(`alertname="${name}",alertstate[^]*?exp_samples:(.*)`, "g")),
      ];
      const firing = checks.filter(([, rest]) => rest!.trim() === "");
      expect(firing.length, `${name} firing`).toBeGreaterThan(0);
      expect(checks.length - firing.length, `${name} quiet`).toBeGreaterThan(0);
    }
  });
});

describe("a query without its condition", () => {
  it.each([
    ["up == 0", "up == bool 0"],
    ['a{b=~"x",c!="y"} > 0.5', 'a{b=~"x",c!="y"} > bool 0.5'],
    ["a == 0 unless b == 1", "a == bool 0 and b == bool 1"],
    ["a > 50 and a > 0.1 * (b + a)", "a > bool 50 and a > bool 0.1 * (b + a)"],
    ['absent(up{job="starling"})', 'count(up{job="starling"})'],
  ])("%s is asked as %s", (expr, asked) => {
    expect(withoutCondition(expr)).toBe(asked);
  });
});
