/** An application on Starling, written for Pusher: its back end authorizes its pages' channels and triggers events. */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import Pusher from "pusher";

const {
  PORT = "3000",
  PUSHER_APP_ID,
  PUSHER_APP_KEY,
  PUSHER_APP_SECRET,
  PUSHER_HOST = "127.0.0.1",
  PUSHER_PORT = "8000",
} = process.env;
if (!PUSHER_APP_ID || !PUSHER_APP_KEY || !PUSHER_APP_SECRET) {
  console.error(
    "Set PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET to those of an app: starling app create",
  );
  process.exit(1);
}

const pusher = new Pusher({
  appId: PUSHER_APP_ID,
  key: PUSHER_APP_KEY,
  secret: PUSHER_APP_SECRET,
  // The only lines that are about Starling.
  host: PUSHER_HOST,
  port: PUSHER_PORT,
  useTLS: false,
});

/** Who asks. An application looks into the session that its sign-in made; here pages say it themselves. */
const userOf = (form) => ({ id: form.get("user") ?? "", info: { name: form.get("name") ?? "" } });
const mayJoin = (_user, channel) => channel === "private-orders" || channel === "presence-shop";

const routes = {
  "POST /pusher/auth": async (request) => {
    const form = new URLSearchParams(await bodyOf(request));
    const [socketId, channel] = [form.get("socket_id") ?? "", form.get("channel_name") ?? ""];
    const user = userOf(form);
    if (!mayJoin(user, channel)) return { status: 403, body: "not your channel" };
    const member = { user_id: user.id, user_info: user.info };
    return json(
      pusher.authorizeChannel(socketId, channel, channel.startsWith("presence-") ? member : undefined),
    );
  },

  "POST /orders": async (request) => {
    const { item, socket_id } = JSON.parse(await bodyOf(request));
    // The page that ordered knows of it already.
    await pusher.trigger("private-orders", "ordered", { item }, { socket_id });
    return json({ item });
  },

  "GET /shoppers": async () => {
    const response = await pusher.get({ path: "/channels/presence-shop/users" });
    return json(await response.json());
  },

  "GET /settings": () => json({ key: PUSHER_APP_KEY, wsHost: PUSHER_HOST, wsPort: Number(PUSHER_PORT) }),
  "GET /": () => file("text/html; charset=utf-8", new URL("./public/index.html", import.meta.url)),
  "GET /app.js": () => file("text/javascript", new URL("./public/app.js", import.meta.url)),
  "GET /pusher.js": () => {
    const main = createRequire(import.meta.url).resolve("pusher-js/package.json");
    return file("text/javascript", new URL("dist/web/pusher.min.js", `file://${main}`));
  },
};

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  const route = routes[`${request.method} ${pathname}`] ?? (() => ({ status: 404, body: "not found" }));
  Promise.resolve()
    .then(() => route(request))
    .catch((error) => ({ status: 500, body: String(error) }))
    .then(({ status, type = "text/plain", body }) =>
      response.writeHead(status, { "content-type": type }).end(body),
    );
});
server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`open http://127.0.0.1:${server.address().port}/ in two windows`);
});

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function json(value) {
  return { status: 200, type: "application/json", body: JSON.stringify(value) };
}

function file(type, path) {
  return { status: 200, type, body: readFileSync(path) };
}
