/** Who may open a socket: the checks that are made before one exists. */

import { CODECS } from "../protocol/codecs.js";
import { quote } from "../protocol/errors.js";
import type { EdgeOptions } from "./options.js";
import type { Stats } from "./stats.js";
import { TokenBucket } from "./token-bucket.js";
import type { UpgradeRefusal, UpgradeRequest } from "./transport.js";

export type Admission = { readonly codecIndex: number; readonly subprotocol: string | undefined };

export class Admissions {
  readonly #options: EdgeOptions;
  readonly #stats: Stats;
  readonly #perIp = new Map<string, number>();
  /** undefined: no limit. */
  readonly #upgrades: TokenBucket | undefined;

  constructor(options: EdgeOptions, stats: Stats) {
    this.#options = options;
    this.#stats = stats;
    const { upgradeRate, upgradeBurst } = options;
    if (upgradeRate > 0) {
      this.#upgrades = new TokenBucket({
        perSecond: upgradeRate,
        burst: upgradeBurst,
        nowMs: performance.now(),
      });
    }
  }

  get draining(): boolean {
    return this.#stats.draining === 1;
  }

  /** From now on everyone is refused: the node is about to stop. */
  drain(): void {
    this.#stats.draining = 1;
  }

  /** Counts the address of an admitted request until `left` is called with it. */
  check(request: UpgradeRequest): Admission | UpgradeRefusal {
    const { origins, maxConnections, maxConnectionsPerIp, upgradeRate, upgradeBurst } = this.#options;
    const { upgrade, method, version } = request;
    if (upgrade.toLowerCase() !== "websocket") {
      return this.#refuse("upgrade", 400, `the Upgrade header must be "websocket", not ${quote(upgrade)}`);
    }
    if (method !== "GET") {
      return this.#refuse("upgrade", 400, `a WebSocket is asked for by GET, not by ${quote(method)}`);
    }
    if (version !== "13") {
      return this.#refuse("version", 426, `Sec-WebSocket-Version must be 13, not ${quote(version)}`, {
        "sec-websocket-version": "13",
      });
    }
    if (!isHandshakeKey(request.key)) {
      return this.#refuse("key", 400, "Sec-WebSocket-Key must be 16 bytes in base64");
    }
    if (origins.length > 0) {
      const { origin } = request;
      if (origin === undefined || !origins.includes(origin)) {
        return this.#refuse("origin", 403, `origin ${quote(origin ?? "")} is not allowed here`);
      }
    }
    const { subprotocols } = request;
    const codecIndex = subprotocols.length === 0 ? 0 : indexOfOffered(subprotocols);
    if (codecIndex === -1) {
      const known = CODECS.map((codec) => codec.subprotocol).join(", ");
      return this.#refuse(
        "subprotocol",
        400,
        `none of ${quote(subprotocols.join(", "))} is spoken here: ${known}`,
      );
    }
    if (this.draining) {
      return this.#refuse("draining", 429, "this node is draining: try another", { "retry-after": "1" });
    }
    if (this.#stats.connections >= maxConnections) {
      return this.#refuse(
        "node_full",
        503,
        `this node holds ${maxConnections} connections, as many as it may`,
        {
          "retry-after": "5",
        },
      );
    }
    const ofIp = maxConnectionsPerIp > 0 ? (this.#perIp.get(request.ip) ?? 0) : 0;
    if (maxConnectionsPerIp > 0 && ofIp >= maxConnectionsPerIp) {
      return this.#refuse(
        "ip_full",
        429,
        `${request.ip} holds ${maxConnectionsPerIp} connections here, as many as it may`,
        { "retry-after": "5" },
      );
    }
    // After everything else: only who would be admitted takes from it.
    if (this.#upgrades?.take(performance.now()) === false) {
      return this.#refuse(
        "upgrade_rate",
        429,
        `this node takes ${upgradeRate} newcomers a second (burst ${upgradeBurst}), and more are here now`,
        { "retry-after": "1" },
      );
    }
    if (maxConnectionsPerIp > 0) this.#perIp.set(request.ip, ofIp + 1);
    return {
      codecIndex,
      subprotocol: subprotocols.length === 0 ? undefined : CODECS[codecIndex]!.subprotocol,
    };
  }

  left(ip: string): void {
    const count = this.#perIp.get(ip);
    if (count === undefined) return;
    if (count > 1) this.#perIp.set(ip, count - 1);
    else this.#perIp.delete(ip);
  }

  #refuse(
    reason: string,
    status: number,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ): UpgradeRefusal {
    this.#stats.reject(reason);
    return { status, message, headers };
  }
}

/** The first that the client offered and this node speaks. */
function indexOfOffered(subprotocols: readonly string[]): number {
  for (const offered of subprotocols) {
    const index = CODECS.findIndex((codec) => codec.subprotocol === offered);
    if (index !== -1) return index;
  }
  return -1;
}

/** 16 bytes are 22 characters of base64 and two of padding (RFC 6455 4.1). */
function isHandshakeKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}
