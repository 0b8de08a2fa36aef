/**
 * What nodes exchange in Redis grows by fields that older nodes do not know. Leases name the format that their node
 * reads, and nodes write what the oldest of the fleet reads.
 *
 *     2  what nodes read whose lease names no format
 *     3  text payloads, extras of publications, info of members
 */
export const FORMAT = 3;
export const FORMAT_BEFORE = 2;

export interface FleetFormat {
  /** The least that a node of the fleet reads. */
  readonly oldest: number;
}
