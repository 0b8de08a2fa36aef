import { shown } from "./arguments.js";
import { StarlingError } from "./error.js";

/** Scheme and host, path and query; the fragment is left off. */
const PARTS = /^(?:ws|http)(s?):\/\/([^/?#]+)([^?#]*)(?:\?([^#]*))?/i;

/**
 * Works on the text: React Native's URL has no setters and does not check.
 * @param key routing key: the balancer sends equal keys to the same node
 * @throws StarlingError bad_request
 */
export function urlOf(url: string | URL, key: string | undefined): string {
  if (typeof url !== "string" && !(url && typeof url === "object" && "href" in url)) {
    throw new StarlingError(
      "bad_request",
      `connect: ${shown(url)} is not a URL: give one such as "ws://127.0.0.1:8000"`,
    );
  }
  let href = String(url);
  // Without the platform's error as its cause: Node's has the whole URL.
  const refusal = (kind: string) =>
    new StarlingError("bad_request", `${shown(withoutSecrets(href))} is not a ${kind}: give ws:// or wss://`);
  try {
    // A browser's own address makes "/path" enough.
    const base = /^[a-z][a-z\d+.-]*:/i.test(href) ? undefined : globalThis.location?.href;
    href = new URL(href, base).href;
  } catch {
    throw refusal("URL");
  }
  const parts = PARTS.exec(href);
  if (parts === null) throw refusal("WebSocket URL");
  const [, secure, host, path, query = ""] = parts;
  const parameters = query === "" ? [] : query.split("&");
  const others = key ? parameters.filter((parameter) => !/^key(=|$)/.test(parameter)) : parameters;
  if (key) others.push(`key=${formEncoded(key)}`);
  return `ws${secure!.toLowerCase()}://${host}${path || "/"}${others.length > 0 ? `?${others.join("&")}` : ""}`;
}

/** As URLSearchParams has it: balancers compare the text. */
function formEncoded(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, "+");
}

/** A URL as it is shown, and asked over HTTP: its parameters that are secrets have no value, its user and password are left off. */
export function withoutSecrets(url: string): string {
  return url
    .replace(/([?&][^=&]*(?:token|password|secret)=)[^&#]*/gi, "$1...")
    .replace(/^((?:[a-z][a-z\d+.-]*:)?\/*)[^/?#]*@/i, "$1");
}

/** A text that may have the URL in it, with the URL as it is shown. */
export function hideSecrets(text: string, url: string): string {
  return text.split(url).join(withoutSecrets(url));
}
