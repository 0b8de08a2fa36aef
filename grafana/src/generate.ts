import { mainDashboard } from "./main-dashboard.js";
import { runbooksDashboard } from "./runbooks-dashboard.js";

/**
 * @param operations  the text of docs/operations.md
 * @returns file name and text of each dashboard
 * @throws Error where a runbook is missing
 */
export function generate(operations: string): ReadonlyMap<string, string> {
  const json = (dashboard: object): string => `${JSON.stringify(dashboard, undefined, 2)}\n`;
  return new Map([
    ["starling.json", json(mainDashboard())],
    ["starling-runbooks.json", json(runbooksDashboard(operations))],
  ]);
}
