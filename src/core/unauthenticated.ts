/** Connections that have yet to authenticate, where that is asked of them: limited apart from all others. */

import { addressText, type AddressKey } from "./client-address.js";

export interface UnauthenticatedOptions<Client> {
  /** More than these push the oldest out: who means it authenticates sooner than a flood fills this. */
  readonly max: number;
  /** Percent of `max` that one address may have of the upper half; 100: no share. */
  readonly sharePercent: number;
  /** Closes the client, which is forgotten thereby. */
  readonly evict: (client: Client) => void;
}

export class Unauthenticated<Client> {
  readonly #max: number;
  readonly #evict: (client: Client) => void;
  readonly maxEach: number;
  /** With its address, where it came while places were scarce. */
  readonly #waiting = new Map<Client, AddressKey | undefined>();
  readonly #perAddress = new Map<AddressKey, number>();
  /** Goes on where it stood: a new one would step over all that left the map since it was last rebuilt. */
  #oldest = this.#waiting.keys();

  constructor({ max, sharePercent, evict }: UnauthenticatedOptions<Client>) {
    this.#max = max;
    this.#evict = evict;
    this.maxEach = sharePercent < 100 ? Math.max(1, Math.floor((max * sharePercent) / 100)) : Infinity;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Addresses that are remembered. */
  get addresses(): number {
    return this.#perAddress.size;
  }

  /** Whether half of the places are taken: only then addresses are read and counted. */
  get scarce(): boolean {
    return this.#waiting.size * 2 >= this.#max && this.maxEach < Infinity;
  }

  /** @returns why another of this address is not taken while places are scarce, or undefined */
  refusal(address: AddressKey): string | undefined {
    if ((this.#perAddress.get(address) ?? 0) < this.maxEach) return undefined;
    return `unauthenticated connection limit for ${addressText(address)} reached (${this.maxEach}, by sharePerIpPercent): authenticate those first`;
  }

  /** @param address  where it was asked for because places were scarce */
  add(client: Client, address: AddressKey | undefined): void {
    if (this.#waiting.size >= this.#max) this.#evictOldest();
    this.#waiting.set(client, address);
    if (address !== undefined) this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
  }

  remove(client: Client): void {
    const address = this.#waiting.get(client);
    if (!this.#waiting.delete(client) || address === undefined) return;
    const count = this.#perAddress.get(address) ?? 0;
    if (count > 1) this.#perAddress.set(address, count - 1);
    else this.#perAddress.delete(address);
  }

  #evictOldest(): void {
    let next = this.#oldest.next();
    if (next.done === true) {
      this.#oldest = this.#waiting.keys();
      next = this.#oldest.next();
    }
    if (next.done === true) return;
    this.remove(next.value);
    this.#evict(next.value);
  }
}
