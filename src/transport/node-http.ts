/**
 * What is used of node:http. An import of it reads all that it exports, on Node 22 and later its WebSocket too, for
 * which Node loads an HTTP client: 13 MB. A require reads nothing.
 */

import type * as Http from "node:http";
import { createRequire } from "node:module";

export const { createServer, STATUS_CODES } = createRequire(import.meta.url)("node:http") as typeof Http;
