/**
 * Settings of V8 for a process that is a node: import this first. V8 keeps count of which object literals outlive a
 * collection, and from then on makes those of one place in the long-lived part of its heap. A burst of publications
 * that waits at such a moment is enough, and whatever is made there later keeps alive what it points to until that
 * part is looked through: measured, collections take three times as long, for as long as the node runs.
 */

import { setFlagsFromString } from "node:v8";

setFlagsFromString("--no-allocation-site-pretenuring");
