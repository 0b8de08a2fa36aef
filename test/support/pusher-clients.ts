/** Pusher's own clients and SDK for Node.js, and the app that they are of. */

import { createRequire } from "node:module";
import type * as PusherJsModule from "pusher-js";
import PusherServer from "pusher";
import { configSchema, defaultConfig, type Config } from "../../src/config.js";
import { until } from "./eventually.js";
import type { TestNode } from "./nodes.js";

export type PusherClient = PusherJsModule.default;
export type PusherChannel = PusherJsModule.Channel;
type Options = PusherJsModule.Options;

// Its types say that the class is the module's default, but it is the module.
export const PusherJs = createRequire(import.meta.url)("pusher-js") as new (
  key: string,
  options: Options,
) => PusherClient;

export const APP = { id: "3", key: "key-of-3", secret: "secret-of-3-in-tests" };
export const MASTER_KEY = Buffer.alloc(32, "master").toString("base64");

/** The app and further ones as a node's options, with client events. */
export function pusherApps(...others: readonly object[]): Pick<Config, "apps"> {
  const { id, key, secret } = APP;
  const app = { id, keys: [{ key, secret }], pusher: { clientEvents: true } };
  return { apps: configSchema.parse({ ...defaultConfig, apps: [app, ...others] }).apps };
}

/** A back end of the app. */
export function sdkOf(
  node: Pick<TestNode, "wsUrl">,
  options: Partial<{ appId: string; key: string; secret: string }> = {},
): PusherServer {
  const { hostname, port } = new URL(node.wsUrl);
  const { id: appId, key, secret } = APP;
  return new PusherServer({
    ...{ appId, key, secret, host: hostname, port, useTLS: false, encryptionMasterKeyBase64: MASTER_KEY },
    ...options,
  });
}

export interface ConnectOptions extends Partial<Options> {
  readonly key?: string;
  /** What the application says of who it is, in presence channels and where it signs in. */
  readonly user?: { readonly id: string | number; readonly info?: object };
  /** By which the application signs. */
  readonly secret?: string;
}

const clients = new Set<PusherClient>();

/** What an application's server answers to pusher-js is made in this process. */
export function pusherClient(port: number, options: ConnectOptions = {}): PusherClient {
  const { key = APP.key, secret = APP.secret, user, ...rest } = options;
  const application = sdkOf({ wsUrl: "ws://127.0.0.1" }, { key, secret });
  const client = new PusherJs(key, {
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    channelAuthorization: {
      customHandler({ socketId, channelName }, callback) {
        const member =
          channelName.startsWith("presence-") && user !== undefined
            ? { user_id: user.id as string, user_info: user.info as never }
            : undefined;
        callback(null, application.authorizeChannel(socketId, channelName, member));
      },
    },
    userAuthentication: {
      customHandler({ socketId }, callback) {
        callback(
          null,
          application.authenticateUser(socketId, { id: String(user?.id), user_info: user?.info }),
        );
      },
    },
    ...rest,
  });
  clients.add(client);
  return client;
}

export const portOf = ({ wsUrl }: Pick<TestNode, "wsUrl">): number => Number(new URL(wsUrl).port);

/** Resolves with a client that is connected. */
export async function connectPusher(
  node: Pick<TestNode, "wsUrl">,
  options?: ConnectOptions,
): Promise<PusherClient> {
  const client = pusherClient(portOf(node), options);
  await until("connected", () => client.connection.state === "connected");
  return client;
}

/** For afterEach. */
export function disconnectPusher(): void {
  for (const client of clients) client.disconnect();
  clients.clear();
}

export interface Heard {
  readonly event: string;
  readonly data: unknown;
}

/** All that is told of a channel from now on, in its order. */
export function heardOn(channel: PusherChannel): Heard[] {
  const heard: Heard[] = [];
  channel.bind_global((event: string, data: unknown) => heard.push({ event, data }));
  return heard;
}

export async function subscribePusher(client: PusherClient, name: string): Promise<PusherChannel> {
  const channel = client.subscribe(name);
  await until(`subscribed to ${name}`, () => channel.subscribed);
  return channel;
}

/** Frames that reach a client from now on, as pusher-js reads them. */
export function framesOf(client: PusherClient): { event: string; channel?: string; data?: unknown }[] {
  const frames: { event: string; channel?: string; data?: unknown }[] = [];
  client.connection.bind("message", (frame: (typeof frames)[number]) => frames.push(frame));
  return frames;
}

/** Codes of the errors that a client is told from now on. */
export function errorsOf(client: PusherClient): { code: number | null; message: string }[] {
  const errors: { code: number | null; message: string }[] = [];
  type Told = { data?: (typeof errors)[number]; error?: { data?: (typeof errors)[number] } };
  client.connection.bind("error", ({ data, error }: Told) => {
    const told = data ?? error?.data;
    if (told !== undefined) errors.push(told);
  });
  return errors;
}

export async function bodyOf(asked: Promise<{ json(): Promise<unknown> }>): Promise<unknown> {
  return (await asked).json();
}
