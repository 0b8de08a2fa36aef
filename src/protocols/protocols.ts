/** The wire protocols that a node speaks, in the order in which they are offered an upgrade. */

import type { Protocol } from "../core/protocol.js";
import { starlingProtocol } from "./starling/protocol.js";

export const PROTOCOLS: readonly Protocol[] = [starlingProtocol];
