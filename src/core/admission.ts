/** Who may open a socket: the checks that are made before one exists. */

import type { App, Apps } from "./app.js";
import { quote } from "./errors.js";
import { addressText, type AddressKey } from "./client-address.js";
import type { EdgeOptions } from "./options.js";
import type { Offer, Protocol, Refusal } from "./protocol.js";
import { allowsOrigin } from "./origins.js";
import type { RejectReason } from "./rejects.js";
import type { AppCounts, Stats } from "./stats.js";
import type { UpgradeRefusal, UpgradeRequest } from "./transport.js";
import { Unauthenticated } from "./unauthenticated.js";
import { UpgradeRate } from "./upgrade-rate.js";

export interface Admission {
  readonly offer: Offer;
  /** Where something is limited by it. */
  readonly address: AddressKey | undefined;
}

export interface Refused {
  readonly refused: Refusal;
  /** Whose request it is; undefined: it is no WebSocket handshake, or no protocol's. */
  readonly protocol: Protocol | undefined;
}

/** The answer of the first protocol that knows a request as its own. */
interface Asked {
  readonly protocol: Protocol | undefined;
  readonly offer: Offer | Refusal;
}

export interface AdmissionsOptions<Client> {
  readonly options: EdgeOptions;
  /** Asked in this order: the first that says that a request is its own decides. */
  readonly protocols: readonly Protocol[];
  readonly apps: Apps;
  readonly stats: Stats;
  /** Closes the client that has been unauthenticated for longest. */
  readonly evict: (client: Client, reason: string) => void;
}

/** @typeParam Client  what stands for a connection: an object of its own */
export class Admissions<Client extends object> {
  readonly #options: EdgeOptions;
  readonly #protocols: readonly Protocol[];
  readonly #apps: Apps;
  readonly #stats: Stats;
  /** By their list: the node's, and those of apps that have their own. */
  readonly #allowsOrigin = new WeakMap<readonly string[], (origin: string) => boolean>();
  readonly #perIp = new Map<AddressKey, number>();
  /** Addresses of connections, kept only where they are limited. */
  readonly #addresses = new Map<Client, AddressKey>();
  /** undefined: no limit. */
  readonly #upgrades: UpgradeRate | undefined;
  readonly #unauthenticated: Unauthenticated<Client> | undefined;

  constructor({ options, protocols, apps, stats, evict }: AdmissionsOptions<Client>) {
    this.#options = options;
    this.#protocols = protocols;
    this.#apps = apps;
    this.#stats = stats;
    const { upgradeRate, upgradeBurst, sharePerIpPercent: sharePercent, maxUnauthenticated: max } = options;
    if (upgradeRate > 0) {
      this.#upgrades = new UpgradeRate(
        { perSecond: upgradeRate, burst: upgradeBurst, sharePercent },
        performance.now(),
      );
    }
    // Whether an app asks for tokens may change while the node serves.
    if (max > 0) {
      const reason = `unauthenticated connection limit reached (maxUnauthenticated ${max})`;
      this.#unauthenticated = new Unauthenticated({
        max,
        sharePercent,
        evict: (client) => {
          stats.reject("unauthenticated_full");
          evict(client, reason);
        },
      });
    }
  }

  get draining(): boolean {
    return this.#stats.draining === 1;
  }

  get unauthenticated(): number {
    return this.#unauthenticated?.size ?? 0;
  }

  /** Addresses that are remembered because something is limited by them. */
  get addresses(): number {
    return this.#perIp.size + (this.#upgrades?.addresses ?? 0) + (this.#unauthenticated?.addresses ?? 0);
  }

  /** From now on everyone is refused: the node is about to stop. */
  drain(): void {
    this.#stats.draining = 1;
  }

  /** What is admitted must be handed to `entered` in the same turn. */
  check(request: UpgradeRequest): Admission | Refused {
    const malformed = this.#malformed(request);
    if (malformed !== undefined) return this.#refuse(malformed, undefined);
    const { protocol, offer } = this.#ask(request);
    const refusal = this.#wrongOrigin(request, offer) ?? this.#unserved(offer);
    const app = "status" in offer ? undefined : offer.app;
    if (refusal !== undefined) return this.#refuse(refusal, protocol, app);
    const limited = this.#limit(request, (offer as Offer).app);
    return typeof limited === "object"
      ? this.#refuse(limited, protocol, app)
      : { offer: offer as Offer, address: limited };
  }

  /** Why it is no WebSocket handshake. */
  #malformed(request: UpgradeRequest): Refusal | undefined {
    const { upgrade, method, version } = request;
    if (upgrade.toLowerCase() !== "websocket") {
      return refusal("upgrade", 400, `the Upgrade header must be "websocket", not ${quote(upgrade)}`);
    }
    if (method !== "GET") {
      return refusal("upgrade", 400, `WebSocket upgrades require GET, got ${quote(method)}`);
    }
    if (version !== "13") {
      return refusal("version", 426, `Sec-WebSocket-Version must be 13, not ${quote(version)}`, {
        "sec-websocket-version": "13",
      });
    }
    return isHandshakeKey(request.key)
      ? undefined
      : refusal("key", 400, "Sec-WebSocket-Key must be 16 bytes in base64");
  }

  /**
   * Why an upgrade at this URL would be refused to whoever asks, for a plain request: a page does not see the answer to
   * a refused upgrade. Not counted.
   */
  explain(request: UpgradeRequest): UpgradeRefusal | undefined {
    const { offer } = this.#ask(request);
    return this.#wrongOrigin(request, offer) ?? this.#unserved(offer);
  }

  entered(client: Client, { address, offer }: Admission): void {
    if (offer.app.authorizer.required) this.#unauthenticated?.add(client, address);
    if (address === undefined || this.#options.maxConnectionsPerIp === 0) return;
    this.#addresses.set(client, address);
    this.#perIp.set(address, (this.#perIp.get(address) ?? 0) + 1);
  }

  authenticated(client: Client): void {
    this.#unauthenticated?.remove(client);
  }

  left(client: Client): void {
    this.#unauthenticated?.remove(client);
    if (this.#addresses.size === 0) return;
    const address = this.#addresses.get(client);
    if (address === undefined) return;
    this.#addresses.delete(client);
    const count = this.#perIp.get(address) ?? 0;
    if (count > 1) this.#perIp.set(address, count - 1);
    else this.#perIp.delete(address);
  }

  #ask(request: UpgradeRequest): Asked {
    for (const protocol of this.#protocols) {
      const offer = protocol.admit(request, this.#apps);
      if (offer !== undefined) return { protocol, offer };
    }
    const message = `no protocol is served at ${quote(request.path)}`;
    return { protocol: undefined, offer: refusal("protocol", 404, message) };
  }

  #unserved(offer: Offer | Refusal): Refusal | undefined {
    if ("status" in offer) return offer;
    return offer.app.enabled
      ? undefined
      : refusal("app_disabled", 403, `app ${quote(offer.app.id)} is disabled`);
  }

  #wrongOrigin(request: UpgradeRequest, offer: Offer | Refusal): Refusal | undefined {
    const own = "status" in offer ? [] : offer.app.origins;
    const origins = own.length > 0 ? own : this.#options.origins;
    const { originRequired } = this.#options;
    if (origins.length === 0 && !originRequired) return undefined;
    const { origin } = request;
    // Only browsers send it, and only they act for somebody who did not ask them to.
    if (origin === undefined) {
      return originRequired ? refusal("origin", 403, "an Origin header is required") : undefined;
    }
    let allows = this.#allowsOrigin.get(origins);
    if (allows === undefined) this.#allowsOrigin.set(origins, (allows = allowsOrigin(origins)));
    return allows(origin) ? undefined : refusal("origin", 403, `origin ${quote(origin)} is not allowed`);
  }

  /** @returns the address, where something is limited by it */
  #limit(request: UpgradeRequest, app: App): Refusal | AddressKey | undefined {
    const { maxConnections, maxConnectionsPerIp } = this.#options;
    if (this.draining) {
      return refusal("draining", 429, "this node is draining: connect to another", {
        "retry-after": "1",
      });
    }
    if (this.#stats.connections >= maxConnections) {
      return refusal(
        "node_full",
        503,
        `connection limit of this node reached (maxConnections ${maxConnections})`,
        {
          "retry-after": "5",
        },
      );
    }
    if (app.connections >= app.maxConnections) {
      const message = `connection limit of app ${quote(app.id)} on this node reached (its maxConnections ${app.maxConnections})`;
      return refusal("app_full", 503, message, { "retry-after": "5" });
    }
    const scarce = this.#unauthenticated?.scarce === true;
    const address = maxConnectionsPerIp > 0 || scarce ? request.address : undefined;
    if (address !== undefined) {
      if (maxConnectionsPerIp > 0 && (this.#perIp.get(address) ?? 0) >= maxConnectionsPerIp) {
        const message = `connection limit for ${addressText(address)} reached (maxConnectionsPerIp ${maxConnectionsPerIp})`;
        return refusal("ip_full", 429, message, { "retry-after": "5" });
      }
      const tooMany = scarce ? this.#unauthenticated?.refusal(address) : undefined;
      if (tooMany !== undefined) {
        return refusal("unauthenticated_ip", 429, tooMany, { "retry-after": "1" });
      }
    }
    // After everything else: only who would be admitted takes from it.
    const spent = this.#upgrades?.take(request, performance.now());
    return spent === undefined ? address : this.#overRate(spent, request);
  }

  #overRate(spent: "rate" | "share", request: UpgradeRequest): Refusal {
    const retry = { "retry-after": "1" };
    const { upgradeRate, upgradeBurst } = this.#options;
    if (spent === "rate") {
      const message = `connection rate limit reached (upgradeRate ${upgradeRate}, upgradeBurst ${upgradeBurst})`;
      return refusal("upgrade_rate", 429, message, retry);
    }
    const { perSecondEach, burstEach } = this.#upgrades!;
    return refusal(
      "upgrade_rate_ip",
      429,
      `connection rate limit for ${addressText(request.address)} reached (${perSecondEach}/s, burst ${burstEach}, by sharePerIpPercent)`,
      retry,
    );
  }

  #refuse(refused: Refusal, protocol: Protocol | undefined, app?: App): Refused {
    const { reason } = refused;
    this.#stats.reject(reason);
    const count = APP_COUNTS[reason];
    if (app !== undefined && count !== undefined) app.counts[count]++;
    return { refused, protocol };
  }
}

/** What of an app's refusals is counted with the app: what its operator can change. */
const APP_COUNTS: Readonly<Partial<Record<RejectReason, keyof AppCounts>>> = {
  app_full: "refusedFull",
  app_disabled: "refusedDisabled",
  origin: "refusedOrigin",
};

function refusal(
  reason: RejectReason,
  status: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Refusal {
  return { reason, status, message, headers };
}

/** 16 bytes are 22 characters of base64 and two of padding (RFC 6455 4.1). */
function isHandshakeKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}
