/** The alerts there are, and where what to do about them is read. prometheus/rules has the same. */

export const ALERTS = [
  "StarlingMissing",
  "StarlingNodeDown",
  "StarlingFleetDegraded",
  "StarlingNodeNotReady",
  "StarlingDrainStuck",
  "StarlingBridgeDown",
  "StarlingBridgeFlapping",
  "StarlingBridgeSlow",
  "StarlingPublicationsFailing",
  "StarlingEnvelopesSkipped",
  "StarlingDeliverySlow",
  "StarlingGaps",
  "StarlingRecoveriesFailing",
  "StarlingConnectionsLost",
  "StarlingUpgradesRefused",
  "StarlingSlowReaders",
  "StarlingEventLoopBlocked",
  "StarlingSessionFaults",
  "StarlingFileDescriptorsLow",
  "StarlingAppFull",
  "StarlingSignaturesRefused",
  "EnvoyDown",
  "EnvoyNoHealthyNode",
  "EnvoyNodeUnhealthy",
  "EnvoyConnectFailures",
  "EnvoyCircuitOpen",
  "EnvoyServerErrors",
  "EnvoyConnectionLimit",
] as const;

export type AlertName = (typeof ALERTS)[number];

export const RUNBOOKS_UID = "starling-runbooks";

/** The panel of the runbooks' dashboard, so that a link works wherever Grafana does. */
export const panelIdOf = (alert: AlertName): number => ALERTS.indexOf(alert) + 1;
export const runbookUrl = (alert: AlertName): string =>
  `/d/${RUNBOOKS_UID}/?viewPanel=panel-${panelIdOf(alert)}`;

/**
 * What operations.md says under an alert's heading.
 * @throws Error naming the heading that is not there
 */
export function runbookOf(alert: AlertName, operations: string): string {
  const heading = `### ${alert}\n`;
  const from = operations.indexOf(heading);
  if (from === -1) throw new Error(`docs/operations.md has no heading "${heading.trim()}"`);
  const rest = operations.slice(from + heading.length);
  const next = rest.search(/^#{1,3} /m);
  return (next === -1 ? rest : rest.slice(0, next)).trim();
}
