import uWS, { type TemplatedApp, type us_listen_socket } from "uWebSockets.js";
import { HOST, MAX_BUFFERED_BYTES, MAX_FRAME_BYTES } from "./process.js";

export const SOCKET_OPTIONS = {
  compression: uWS.DISABLED,
  maxPayloadLength: MAX_FRAME_BYTES,
  maxBackpressure: MAX_BUFFERED_BYTES,
  // Without time-out and pings: not even these cost the ceiling anything.
  idleTimeout: 0,
  sendPingsAutomatically: false,
} as const;

/** LIBUS_LISTEN_EXCLUSIVE_PORT, which the declarations have only as an enum without a value at run time. */
const LISTEN_EXCLUSIVE_PORT = 1;

/** The declarations lack this form, which the implementation has. */
type ListenExclusively = (
  host: string,
  port: number,
  options: number,
  listening: (socket: us_listen_socket | false) => void,
) => void;

/** @returns the port */
export function listen(app: TemplatedApp): Promise<number> {
  const listenOn = app.listen.bind(app) as unknown as ListenExclusively;
  return new Promise((resolve, reject) => {
    listenOn(HOST, 0, LISTEN_EXCLUSIVE_PORT, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${HOST}`));
      else resolve(uWS.us_socket_local_port(socket));
    });
  });
}
