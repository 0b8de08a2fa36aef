import { WebSocket } from "ws";

/** Tells of a failure what a browser tells: nothing. */
export class Mute extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols);
    const add = this.addEventListener.bind(this) as (
      name: string,
      listener: (event: unknown) => void,
    ) => void;
    const muted: typeof add = (name, listener) =>
      add(name, (event) => listener(name === "error" ? new Event("error") : event));
    Object.defineProperty(this, "addEventListener", { value: muted });
  }
}
