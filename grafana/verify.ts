/**
 * Runs every query of the dashboards and rules against a Prometheus that scraped a fleet under load, and
 * prints what each returned. Ends with 1 where one returns nothing, or names a metric that is not there.
 *
 *     npx tsx grafana/verify.ts [--short] [--picture FILE]
 *
 * Needs redis-server, envoy and prometheus; for a picture chromium.
 */

import { parseArgs } from "node:util";
import { startFleet } from "./check/fleet.js";
import { drawDashboard } from "./check/picture.js";
import { verify } from "./check/verify.js";

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, picture: { type: "string" } },
});

const fleet = await startFleet();
try {
  const short = values.short;
  const rateInterval = short ? "6s" : "10s";
  const outcome = await verify(fleet, {
    phaseMs: short ? 2000 : 6000,
    clients: short ? 30 : 90,
    rateInterval,
    report: (line) => console.log(line),
  });
  console.log(`\n${outcome.table}`);
  if (values.picture !== undefined) {
    const bytes = await drawDashboard(values.picture, fleet.prometheusUrl, { ...outcome, rateInterval });
    console.log(`${values.picture}: ${bytes} bytes`);
  }
  for (const fault of outcome.faults) console.error(fault);
  if (outcome.faults.length > 0) process.exitCode = 1;
} finally {
  await fleet.stop();
}
