/** What to write into configurations and programs, so that they find a new app. */

import { envName } from "../config/options.js";
import { DEFAULT_APP, type KeyPair } from "../core/app.js";
import { inBrackets } from "../url-host.js";

export interface Snippet {
  readonly title: string;
  readonly text: string;
}

interface NewApp extends KeyPair {
  readonly id: string;
}

/** Where clients and back ends reach the nodes. */
interface Address {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

export function appSnippets(app: NewApp, given: Address): Snippet[] {
  const address = { ...given, host: inBrackets(given.host) };
  return [
    ...forNodes(app),
    ...forLaravel(app, address),
    ...forPusher(app, address),
    forStarling(app, address),
  ];
}

// Quoted, as digits would be a number in YAML, and `12e3` too.
function forNodes({ id, key, secret }: NewApp): Snippet[] {
  const isMain = id === DEFAULT_APP;
  const variables = [
    ...(isMain ? [] : [`export ${envName("appId")}=${id}`]),
    `export ${envName("appKey")}=${key}`,
    `export ${envName("appSecret")}=${secret}`,
  ];
  const withClientEvents = `# export ${envName("pusher")}='{"clientEvents":true}' for client events and Echo's whispers`;
  const clientEvents = "# pusher: { clientEvents: true } for client events and Echo's whispers";
  const file = isMain
    ? `appKey: "${key}"\nappSecret: "${secret}"\n${clientEvents}`
    : `apps:\n  - id: "${id}"\n    keys:\n      - { key: "${key}", secret: "${secret}" }\n    ${clientEvents}`;
  return [
    {
      title: "Starling: these variables for one app, then starling serve,",
      text: [...variables, withClientEvents].join("\n"),
    },
    { title: "or this in starling.config.yaml, where there may be other apps", text: file },
  ];
}

function forLaravel({ id, key, secret }: NewApp, { host, port, tls }: Address): Snippet[] {
  return [
    {
      title: "Laravel: .env (the cluster has no effect)",
      text: `BROADCAST_CONNECTION=pusher
PUSHER_APP_ID="${id}"
PUSHER_APP_KEY="${key}"
PUSHER_APP_SECRET="${secret}"
PUSHER_APP_CLUSTER=mt1
PUSHER_HOST="${host}"
PUSHER_PORT=${port}
PUSHER_SCHEME=${tls ? "https" : "http"}

VITE_PUSHER_APP_KEY="\${PUSHER_APP_KEY}"
VITE_PUSHER_APP_CLUSTER="\${PUSHER_APP_CLUSTER}"
VITE_PUSHER_HOST="\${PUSHER_HOST}"
VITE_PUSHER_PORT="\${PUSHER_PORT}"
VITE_PUSHER_SCHEME="\${PUSHER_SCHEME}"`,
    },
    {
      title: "Laravel Echo: resources/js/echo.js",
      text: `import Echo from "laravel-echo";
import Pusher from "pusher-js";

window.Pusher = Pusher;
window.Echo = new Echo({
  broadcaster: "pusher",
  key: import.meta.env.VITE_PUSHER_APP_KEY,
  cluster: import.meta.env.VITE_PUSHER_APP_CLUSTER,
  wsHost: import.meta.env.VITE_PUSHER_HOST,
  wsPort: import.meta.env.VITE_PUSHER_PORT,
  wssPort: import.meta.env.VITE_PUSHER_PORT,
  forceTLS: import.meta.env.VITE_PUSHER_SCHEME === "https",
  enabledTransports: ["ws", "wss"],
});`,
    },
  ];
}

function forPusher({ id, key, secret }: NewApp, { host, port, tls }: Address): Snippet[] {
  const scheme = tls ? "https" : "http";
  // Its pattern for ids is [0-9]+.
  const pythonNote = /^\d+$/.test(id) ? "" : " (takes ids of digits alone: let this command choose one)";
  return [
    {
      title: "pusher-js",
      text: `const pusher = new Pusher("${key}", {
  cluster: "",
  wsHost: "${host}",
  wsPort: ${port},
  wssPort: ${port},
  forceTLS: ${tls},
  enabledTransports: ["ws", "wss"],
});`,
    },
    {
      title: "Pusher's SDK for Node",
      text: `const pusher = new Pusher({
  appId: "${id}",
  key: "${key}",
  secret: "${secret}",
  host: "${host}",
  port: "${port}",
  useTLS: ${tls},
});`,
    },
    {
      title: `Pusher's SDK for Python${pythonNote}`,
      text: `client = pusher.Pusher(
    app_id="${id}",
    key="${key}",
    secret="${secret}",
    host="${host}",
    port=${port},
    ssl=${tls ? "True" : "False"},
)`,
    },
    {
      title: "Pusher's SDK for Go",
      text: `client := pusher.Client{
	AppID:  "${id}",
	Key:    "${key}",
	Secret: "${secret}",
	Host:   "${host}:${port}",
	Secure: ${tls},
}`,
    },
    {
      title: "Pusher's SDK for PHP",
      text: `$pusher = new Pusher\\Pusher("${key}", "${secret}", "${id}", [
    "host" => "${host}",
    "port" => ${port},
    "scheme" => "${scheme}",
    "useTLS" => ${tls},
]);`,
    },
  ];
}

function forStarling({ id }: NewApp, { host, port, tls }: Address): Snippet {
  const query = id === DEFAULT_APP ? "" : `?app=${id}`;
  return {
    title:
      "Starling's own SDK (where NODE_ENV=production the app needs a key for tokens, or allowOpen, for this)",
    text: `import { connect } from "starling-client";

const client = connect("${tls ? "wss" : "ws"}://${host}:${port}/${query}");`,
  };
}
