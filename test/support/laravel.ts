/** An application as Laravel makes one: it signs for its users' channels, and broadcasts by its SDK for PHP. */

import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { laravelBroadcast, phpSdk } from "./pusher-php.js";

export interface Laravel {
  readonly url: string;
  /** By the URL of a node. @throws Error where it is not taken */
  broadcast(
    wsUrl: string,
    channels: readonly string[],
    event: string,
    payload: { readonly socket?: string; readonly [name: string]: unknown },
  ): Promise<void>;
  stop(): Promise<void>;
}

export const NOTIFICATION = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated";

/** Who sends a bearer token is the user of that name. Nobody may enter channels that are `forbidden`. */
export async function startLaravel(): Promise<Laravel> {
  // Signatures go to no node.
  const sdk = phpSdk("ws://127.0.0.1", { version: 7 });

  function answer(path: string, user: string, form: URLSearchParams): string | undefined {
    const socketId = form.get("socket_id") ?? "";
    if (path === "/broadcasting/user-auth") {
      return sdk.authenticateUser(socketId, { id: user, user_info: { name: user } });
    }
    const channel = form.get("channel_name") ?? "";
    if (path !== "/broadcasting/auth" || channel.includes("forbidden")) return undefined;
    return channel.startsWith("presence-")
      ? sdk.authorizePresenceChannel(channel, socketId, user, { id: user, name: user.toUpperCase() })
      : sdk.authorizeChannel(channel, socketId);
  }

  const server = createServer((request, response) => {
    void textOf(request).then((text) => {
      const user = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
      const body =
        user === undefined ? undefined : answer(request.url ?? "", user, new URLSearchParams(text));
      response.writeHead(body === undefined ? 403 : 200, { "content-type": "application/json" });
      response.end(body ?? '{"message":"This action is unauthorized."}');
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async broadcast(wsUrl, channels, event, payload) {
      const php = phpSdk(wsUrl, { version: 7 });
      for (const { status, body } of await laravelBroadcast(php, channels, event, payload)) {
        if (status !== 200) throw new Error(`${status}: ${body}`);
      }
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}
