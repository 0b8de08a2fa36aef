/** Settings of V8 for a process that is a node: import this before the program. */

import { setFlagsFromString } from "node:v8";

/**
 * V8 keeps count of which object literals outlive a collection, and from then on makes those of one place in the
 * long-lived part of its heap. A burst of publications that waits at such a moment is enough, and whatever is made
 * there later keeps alive what it points to until that part is looked through: measured, collections take three times
 * as long, for as long as the node runs.
 */
setFlagsFromString("--no-allocation-site-pretenuring");
/** Loading the program would grow the young generation by 15 to 30 MB, for good: heap.ts gives it its size. */
setFlagsFromString("--semi-space-growth-factor=1");
/**
 * The middle compiler's work is thrown away by another thread than made it, and malloc then keeps 20 MB for good.
 * V8 complains of flags that it does not know.
 */
if (process.versions.v8.startsWith("13.")) setFlagsFromString("--no-maglev-destroy-on-background");
