import type { HttpRequest, HttpResponse } from "uWebSockets.js";
import { addressKey, type AddressKey, type ClientAddressOf } from "../core/client-address.js";
import type { UpgradeRequest } from "../core/transport.js";

/**
 * An upgrade request of uWebSockets.js, gone once its handler returns. Each header is a call into
 * native code, a third of a microsecond: it is read when it is asked for.
 */
export class UwsUpgrade implements UpgradeRequest {
  readonly method: string;
  readonly key: string;
  readonly #res: HttpResponse;
  readonly #req: HttpRequest;
  readonly #clientAddress: ClientAddressOf | undefined;

  /** @param method  where the route says it */
  constructor(
    res: HttpResponse,
    req: HttpRequest,
    clientAddress: ClientAddressOf | undefined,
    method = req.getCaseSensitiveMethod(),
  ) {
    this.#res = res;
    this.#req = req;
    this.#clientAddress = clientAddress;
    this.method = method;
    this.key = req.getHeader("sec-websocket-key");
  }

  get path(): string {
    return this.#req.getUrl();
  }

  get query(): string {
    return this.#req.getQuery() ?? "";
  }

  get origin(): string | undefined {
    const origin = this.#req.getHeader("origin");
    return origin === "" ? undefined : origin;
  }

  get address(): AddressKey {
    const peer = new Uint8Array(this.#res.getRemoteAddress());
    return this.#clientAddress === undefined
      ? addressKey(peer)
      : this.#clientAddress(peer, () => allOf(this.#req, "x-forwarded-for"));
  }

  get subprotocols(): readonly string[] {
    return listOf(this.#req.getHeader("sec-websocket-protocol"));
  }

  get allSubprotocols(): readonly string[] {
    return listOf(allOf(this.#req, "sec-websocket-protocol"));
  }

  get upgrade(): string {
    return this.#req.getHeader("upgrade");
  }

  get version(): string {
    return this.#req.getHeader("sec-websocket-version");
  }
}

const NONE: readonly string[] = [];

function listOf(header: string): readonly string[] {
  return header === "" ? NONE : header.split(",").map((item) => item.trim());
}

/** getHeader gives one of several headers of a name: a proxy may add its own behind the client's. */
function allOf(req: HttpRequest, wanted: string): string {
  const values: string[] = [];
  req.forEach((name, value) => {
    if (name === wanted) values.push(value);
  });
  return values.join(",");
}
