/** The only importer of uWebSockets.js: sockets, topics and plain HTTP. */

import "./uws-environment.js";
import uWS, {
  type HttpResponse,
  type TemplatedApp,
  type us_listen_socket,
  type WebSocket,
} from "uWebSockets.js";
import type {
  HttpHandler,
  SocketHandler,
  Topics,
  UpgradeDecision,
  UpgradeRefusal,
} from "../core/transport.js";
import type { ClientAddressOf } from "../core/client-address.js";
import type { TlsFiles } from "./tls.js";
import { AcceptGuard, type AcceptLimits, type AcceptRefusal } from "./uws-accept.js";
import { BodyBudget } from "./http-body.js";
import { serveHttp, type HttpServing } from "./uws-http.js";
import { UwsUpgrade } from "./uws-upgrade.js";
import { STATUS_CODES } from "./node-http.js";

export interface WebSocketListener extends Topics {
  /** The port in use, the one that was asked for or the one the kernel chose for 0. */
  readonly port: number;
  /** Sockets that are no WebSocket, or not yet. */
  readonly idleSockets: number;
  /** Takes no new sockets; those that stand, stand. */
  stopListening(): void;
  /** Also ends every socket at once. */
  close(): void;
}

export interface WebSocketOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** With other processes that ask for it too: the kernel spreads the connections. */
  readonly sharePort: boolean;
  /** undefined: plain ws:// and http:// */
  readonly tls?: TlsFiles | undefined;
  /** undefined: the socket's own address. */
  readonly clientAddress?: ClientAddressOf | undefined;
  /** Larger frames end the socket without a word (1006): the polite limit is core's, below this. */
  readonly hardFrameBytes: number;
  /** More than this buffered for one socket is dropped. */
  readonly hardBufferedBytes: number;
  /** Closes a socket that sent nothing for so long: a backstop behind core's own heartbeat. */
  readonly idleTimeoutSeconds: number;
  readonly accept: AcceptLimits;
  /** A socket was closed as it was accepted, or for a frame larger than hardFrameBytes. */
  readonly refused: (reason: AcceptRefusal | "frame_too_large") => void;
  readonly decide: UpgradeDecision;
  /** Answers requests that ask for no upgrade. */
  readonly http: HttpHandler;
}

/** Of all requests on the clients' port that are under way: beyond it they are answered 503. */
const MAX_BODIES_BYTES = 8 * 1024 * 1024;

/** LIBUS_LISTEN_*, which the declarations have only as an enum without a value at run time. */
const LISTEN_SHARED_PORT = 0;
const LISTEN_EXCLUSIVE_PORT = 1;

/** uWebSockets.js ends the process when given an idle time-out outside of these. */
const IDLE_TIMEOUT_SECONDS = { least: 8, most: 960 };

/** How uWebSockets.js says that it closed a socket for a frame larger than maxPayloadLength. */
const TOO_BIG = "Received too big message";

/**
 * uWebSockets.js would copy the properties of what an upgrade is given, one by one through its native side.
 * The object that stands for the socket is one and the same from open to close: the handler is put there.
 */
interface UserData {
  handler: SocketHandler;
}
type HandledSocket = WebSocket<unknown> & UserData;
const NO_DATA = {};

/** @throws Error EADDRINUSE-like, naming host and port, when the port is taken */
export async function listenWebSocket(options: WebSocketOptions): Promise<WebSocketListener> {
  const app = options.tls === undefined ? uWS.App() : secureApp(options.tls);
  const idleTimeout = Math.min(
    IDLE_TIMEOUT_SECONDS.most,
    Math.max(IDLE_TIMEOUT_SECONDS.least, Math.ceil(options.idleTimeoutSeconds)),
  );
  const guard = new AcceptGuard(options.accept, options.refused);
  const serving: HttpServing = {
    handler: options.http,
    keep: () => !guard.scarce,
    bodies: new BodyBudget(MAX_BODIES_BYTES),
  };
  guard.watch(app);
  /** The handler of the socket that is being opened: uWebSockets.js calls open within upgrade. */
  let opening: SocketHandler | undefined;
  app.ws("/*", {
    compression: uWS.DISABLED,
    maxPayloadLength: options.hardFrameBytes,
    maxBackpressure: options.hardBufferedBytes,
    closeOnBackpressureLimit: 0,
    idleTimeout,
    sendPingsAutomatically: false,
    upgrade: (res, req, context) => {
      // uWebSockets.js comes here with GET alone.
      const request = new UwsUpgrade(res, req, options.clientAddress, "GET");
      const decision = options.decide(request);
      if (!("handler" in decision)) {
        refuse(res, decision);
        return;
      }
      opening = decision.handler;
      res.upgrade(
        NO_DATA,
        request.key,
        decision.subprotocol ?? "",
        // Offers no extension: compression costs memory per socket and leaks lengths (CRIME).
        "",
        context,
      );
    },
    open: (ws) => {
      guard.upgraded();
      const handler = opening!;
      opening = undefined;
      (ws as HandledSocket).handler = handler;
      handler.opened(ws);
    },
    message: (ws, message, binary) => (ws as HandledSocket).handler.message(new Uint8Array(message), binary),
    ping: (ws, message) => (ws as HandledSocket).handler.control(message.byteLength),
    pong: (ws, message) => (ws as HandledSocket).handler.control(message.byteLength),
    drain: (ws) => (ws as HandledSocket).handler.drained(),
    dropped: (ws) => (ws as HandledSocket).handler.dropped(),
    close: (ws, code, message) => {
      guard.closed();
      if (message.byteLength === TOO_BIG.length && Buffer.from(message).toString() === TOO_BIG) {
        options.refused("frame_too_large");
      }
      (ws as HandledSocket).handler.closed(code);
    },
  });
  app.any("/*", (res, req) => {
    // An upgrade is to uWebSockets.js only a GET with a key of 24 characters: any other comes here.
    if (req.getHeader("upgrade").toLowerCase() !== "websocket") {
      serveHttp(res, req, serving);
      return;
    }
    const decision = options.decide(new UwsUpgrade(res, req, options.clientAddress));
    refuse(
      res,
      "handler" in decision ? { status: 400, message: "this is not a WebSocket handshake" } : decision,
    );
  });
  const { port, stop } = await listen(app, options);
  return {
    port,
    publish: (topic, frame, binary) => void app.publish(topic, frame, binary),
    get idleSockets() {
      return guard.idle;
    },
    stopListening: stop,
    close: () => void app.close(),
  };
}

/**
 * uWebSockets.js says no more of bad files than "App construction failed": tls.ts checks them before.
 * @throws Error for what Node takes and BoringSSL does not, such as a length in more bytes than it needs
 */
function secureApp({ certFile, keyFile, passphrase }: TlsFiles): TemplatedApp {
  try {
    return uWS.SSLApp({
      cert_file_name: certFile,
      key_file_name: keyFile,
      ...(passphrase === undefined ? {} : { passphrase }),
    });
  } catch (cause) {
    throw new Error(
      `the socket server's TLS library refuses ${certFile} with ${keyFile}: create them again`,
      {
        cause,
      },
    );
  }
}

function refuse(res: HttpResponse, { status, message, headers = {} }: UpgradeRefusal): void {
  res.cork(() => {
    res.writeStatus(`${status} ${STATUS_CODES[status] ?? ""}`);
    res.writeHeader("content-type", "text/plain; charset=utf-8");
    for (const [name, value] of Object.entries(headers)) res.writeHeader(name, value);
    // Bytes, as for Node 22 and later it writes a text that V8 holds as Latin-1 by those.
    res.end(Buffer.from(`${message}\n`), true);
  });
}

async function listen(
  app: TemplatedApp,
  { host, port, sharePort }: { readonly host: string; readonly port: number; readonly sharePort: boolean },
): Promise<{ port: number; stop: () => void }> {
  const socket = await new Promise<us_listen_socket>((resolve, reject) => {
    const listening = (result: us_listen_socket | false): void => {
      if (result !== false) resolve(result);
      else
        reject(
          new Error(
            `cannot listen on ${host}:${port} (host, port): the port is in use, or the address is not this machine's`,
          ),
        );
    };
    // Without EXCLUSIVE a second process would silently share the port and take some of the clients.
    // The declarations lack this form, which the implementation has.
    const listenOn = app.listen.bind(app) as unknown as (
      host: string,
      port: number,
      options: number,
      callback: (result: us_listen_socket | false) => void,
    ) => void;
    listenOn(host, port, sharePort ? LISTEN_SHARED_PORT : LISTEN_EXCLUSIVE_PORT, listening);
  });
  let open = true;
  return {
    port: uWS.us_socket_local_port(socket),
    stop: () => {
      if (open) uWS.us_listen_socket_close(socket);
      open = false;
    },
  };
}
