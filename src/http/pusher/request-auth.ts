/** Whether a request is signed by one of the app's keys, as Pusher's HTTP API asks. */

import * as crypto from "node:crypto";
import { quote } from "../../core/errors.js";
import type { App } from "../../core/app.js";
import { checkSignature } from "../../protocols/pusher/signature.js";
import { ApiError } from "../problem.js";
import type { Query } from "./query.js";

const VERSION = "1.0";
/** Both ways: a request that is dated ahead could be sent again for longer. */
const TIMESTAMP_TOLERANCE_SECONDS = 600;

export interface SignedRequest {
  readonly method: string;
  /** The paths that the client may have signed: a proxy may have changed it on the way. */
  readonly paths: readonly string[];
  readonly query: Query;
}

/**
 * By the head alone: the body is held to the `body_md5` that is signed here.
 * @throws ApiError unauthorized
 */
export function checkHead(app: Pick<App, "id" | "keys">, request: SignedRequest, nowMs: number): void {
  const { method, paths, query } = request;
  const key = needed(query, "auth_key");
  const version = needed(query, "auth_version");
  if (version !== VERSION) throw refusal(`auth_version is ${quote(version)}, it must be ${VERSION}`);
  checkTimestamp(needed(query, "auth_timestamp"), nowMs);
  const signature = needed(query, "auth_signature");
  for (const path of paths) {
    switch (checkSignature(app, key, stringToSign(method, path, query), signature)) {
      case "valid":
        return;
      case "unknown_key":
        throw refusal(`auth_key ${quote(key)} is not a key of app ${quote(app.id)}`);
      case "wrong":
    }
  }
  const signed = JSON.stringify(stringToSign(method, paths[0]!, query));
  throw refusal(
    `Invalid signature: you should have sent HmacSHA256Hex(${signed}, your_secret_key), but you sent ${quote(signature)}`,
  );
}

export function stringToSign(method: string, path: string, query: Query): string {
  const names: string[] = [];
  for (const name of query.keys()) if (name !== "auth_signature") names.push(name);
  let text = `${method}\n${path}\n`;
  let separator = "";
  for (const name of names.sort()) {
    text += `${separator}${name}=${query.get(name)!}`;
    separator = "&";
  }
  return text;
}

/** In one call where Node.js has it (20.12). */
const md5: (bytes: Uint8Array) => string =
  typeof crypto.hash === "function"
    ? (bytes) => crypto.hash("md5", bytes, "hex")
    : (bytes) => crypto.createHash("md5").update(bytes).digest("hex");

/** @throws ApiError unauthorized */
export function checkBody(query: Query, body: Uint8Array): void {
  const given = query.get("body_md5");
  if (given === undefined) {
    if (body.length === 0) return;
    throw refusal("body_md5 is missing: it is needed with a body, and signed with the other parameters");
  }
  const actual = md5(body);
  if (given.toLowerCase() === actual) return;
  throw refusal(
    `body_md5 is ${quote(given)}, but the MD5 of the body as it came, ${body.length} bytes, is "${actual}"`,
  );
}

function checkTimestamp(given: string, nowMs: number): void {
  const now = Math.floor(nowMs / 1000);
  if (!/^\d{1,15}$/.test(given))
    throw refusal(`auth_timestamp is ${quote(given)}, it must be a number of seconds since 1970`);
  if (Math.abs(now - Number(given)) <= TIMESTAMP_TOLERANCE_SECONDS) return;
  throw refusal(
    `Timestamp expired: auth_timestamp ${given} is not within ${TIMESTAMP_TOLERANCE_SECONDS} s of the server's time, ${now}`,
  );
}

function needed(query: Query, name: string): string {
  const value = query.get(name);
  if (value !== undefined && value !== "") return value;
  throw refusal(
    `the query parameter ${name} is missing: auth_key, auth_timestamp, auth_version and auth_signature are needed`,
  );
}

function refusal(message: string): ApiError {
  return new ApiError("unauthorized", message);
}
