/** `starling app create`: a new app's id, key and secret, and what to write where. */

import { randomBytes, randomInt } from "node:crypto";
import { appId } from "../config/app-options.js";
import { host as hostKind, integer, type Kind } from "../config/kinds.js";
import { ConfigError } from "../config/load.js";
import { quote } from "../core/errors.js";
import { appSnippets } from "./app-snippets.js";

interface AppCreateFlags {
  readonly id?: string;
  readonly host: string;
  readonly port: string;
  readonly tls?: true;
  readonly json?: true;
}

/** Of digits, as Pusher's are: some of its SDKs take no others. */
const ID_FROM = 1_000_000;
const ID_BELOW = 10_000_000;
const KEY_BYTES = 10;
/** As long as the hash that it is used with (RFC 2104, 3). */
const SECRET_BYTES = 32;

export function appCreateCommand({ id: givenId, host, port, tls, json }: AppCreateFlags): void {
  const id = givenId ?? String(randomInt(ID_FROM, ID_BELOW));
  check("--id", id, appId);
  check("--host", host, hostKind);
  check("--port", port, integer(1, 65_535));
  const app = {
    id,
    key: randomBytes(KEY_BYTES).toString("hex"),
    secret: randomBytes(SECRET_BYTES).toString("hex"),
  };
  if (json) {
    process.stdout.write(`${JSON.stringify(app)}\n`);
    return;
  }
  const rows = Object.entries(app).map(([name, value]) => `  ${name.padEnd(6)}  ${value}`);
  const snippets = appSnippets(app, { host, port: Number(port), tls: tls ?? false });
  // Not indented: it is to be pasted.
  const sections = snippets.map(({ title, text }) => `== ${title}\n\n${text}`);
  const intro = "A new app, which no node knows yet. Its secret is for the nodes and for back ends alone.";
  process.stdout.write(`${[intro, rows.join("\n"), ...sections].join("\n\n")}\n`);
}

/** @throws ConfigError */
function check(flag: string, value: string, kind: Kind): void {
  if (!kind.schema.safeParse(kind.fromText(value)).success) {
    throw new ConfigError(`${flag}: ${quote(value)} is not allowed: ${kind.allowed}`);
  }
}
