/** Socket.IO on uWebSockets.js: broadcasts to a room become a publication on a topic. */

import uWS from "uWebSockets.js";
import { readOptions, ready } from "./process.js";
import { createRooms } from "./socket-io-rooms.js";
import { listen, SOCKET_OPTIONS } from "./uws-app.js";

const { io, attached } = createRooms(readOptions().redisUrl);
const app = uWS.App();
const { compression, idleTimeout, maxBackpressure } = SOCKET_OPTIONS;
// Handed on to uWebSockets.js, though the declarations know only options of Engine.IO.
const socketOptions: object = { compression, idleTimeout, maxBackpressure };
io.attachApp(app, socketOptions);
await attached();
ready(await listen(app));
