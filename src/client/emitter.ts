import { StarlingError, messageOf } from "./error.js";

type Listener<Payload> = (payload: Payload) => void;

/** Typed events. A listener that throws is reported and hinders neither the client nor other listeners. */
export class Emitter<Events extends { error: StarlingError }> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** @returns what takes the listener off again */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) this.#listeners.set(name, (listeners = new Set()));
    const own: Listener<Events[Name]> = (payload) => listener(payload);
    const set = listeners.add(own);
    return () => void set.delete(own);
  }

  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends keyof Events>(name: Name, payload: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as Listener<Events[Name]>[]) {
      this.guard(`a listener of "${String(name)}"`, () => listener(payload));
    }
  }

  /** To the "error" listeners; to the console where there are none, as nothing may fail unseen. */
  report(error: StarlingError): void {
    if (!this.has("error")) return print(error);
    for (const listener of [...this.#listeners.get("error")!] as Listener<StarlingError>[]) {
      try {
        listener(error);
      } catch (failure) {
        // Not to the listeners again: this one would throw again.
        console.error(error, failure);
      }
    }
  }

  /** Runs a function of the application's, which may throw or return a promise that rejects. */
  guard(name: string, run: () => unknown): void {
    const failed = (cause: unknown) =>
      this.report(new StarlingError("handler_failed", `${name} failed: ${messageOf(cause)}`, { cause }));
    try {
      const result = run();
      if (result instanceof Promise) result.catch(failed);
    } catch (cause) {
      failed(cause);
    }
  }
}

/** A stack is printed where it is somebody's: the client's own leads nowhere. */
function print(error: StarlingError): void {
  const line = `starling: ${error.message}`;
  // The client goes on by itself.
  if (error.code === "connect_failed") console.warn(line);
  else if (error.cause === undefined) console.error(line);
  else console.error(error);
}
