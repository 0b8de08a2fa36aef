/** Socket.IO as its manual sets it up: node:http, and the Redis adapter where there are several nodes. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HOST, readOptions, ready } from "./process.js";
import { createRooms } from "./socket-io-rooms.js";

const { io, attached } = createRooms(readOptions().redisUrl);
const server = createServer();
io.attach(server);
await attached();
server.listen({ host: HOST, port: 0, backlog: 4096 });
await once(server, "listening");
ready((server.address() as AddressInfo).port);
