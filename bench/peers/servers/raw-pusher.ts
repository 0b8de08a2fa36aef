/** uWebSockets.js and as much of Pusher protocol 7 as the generator speaks, presence aside. Signatures are not looked at. */

import uWS, { type WebSocket } from "uWebSockets.js";
import { ready } from "./process.js";
import { clientEventFrom } from "./client-event.js";
import { listen, SOCKET_OPTIONS } from "./uws-app.js";

interface Command {
  readonly event: string;
  readonly data: { readonly channel: string };
}

const PONG = '{"event":"pusher:pong","data":"{}"}';
const app = uWS.App();
let connections = 0;

function onOther(ws: WebSocket<object>, { event, data }: Command): void {
  switch (event) {
    case "pusher:subscribe":
      ws.subscribe(data.channel);
      ws.send(
        `{"event":"pusher_internal:subscription_succeeded","channel":${JSON.stringify(data.channel)},"data":"{}"}`,
      );
      return;
    case "pusher:unsubscribe":
      ws.unsubscribe(data.channel);
      return;
    case "pusher:ping":
      ws.send(PONG);
      return;
    default:
      ws.send(
        JSON.stringify({
          event: "pusher:error",
          data: { code: 4301, message: `"${event}" is not known here` },
        }),
      );
  }
}

app.ws<object>("/app/*", {
  ...SOCKET_OPTIONS,
  open: (ws) => {
    const data = JSON.stringify({ socket_id: `1.${++connections}`, activity_timeout: 30 });
    ws.send(JSON.stringify({ event: "pusher:connection_established", data }));
  },
  message: (ws, message) => {
    const bytes = Buffer.from(message);
    const event = clientEventFrom(bytes);
    // To all but the sender.
    if (event !== undefined) ws.publish(event.channel, event.frame, false);
    else onOther(ws, JSON.parse(bytes.toString()) as Command);
  },
});
ready(await listen(app));
