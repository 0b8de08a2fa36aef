/** Requests of Pusher's HTTP API, signed as its SDKs sign them. */

import { createHash, createHmac } from "node:crypto";

export interface PusherApi {
  /** http://127.0.0.1:6001/apps/ID */
  readonly url: string;
  readonly key: string;
  readonly secret: string;
}

/** @returns path and query of the POST request of this body, good for ten minutes */
export function signedPath({ url, key, secret }: PusherApi, operation: string, body: string): string {
  const { pathname } = new URL(url);
  const path = `${pathname.replace(/\/$/, "")}/${operation}`;
  const query = [
    `auth_key=${key}`,
    `auth_timestamp=${Math.floor(Date.now() / 1000)}`,
    "auth_version=1.0",
    `body_md5=${createHash("md5").update(body).digest("hex")}`,
  ].join("&");
  const signature = createHmac("sha256", secret).update(`POST\n${path}\n${query}`).digest("hex");
  return `${path}?${query}&auth_signature=${signature}`;
}
