/** Pusher's protocol on core, with sockets that the test moves by hand. Real nodes are in integration/. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { App } from "../../../../src/core/app.js";
import { DEFAULT_RULES } from "../../../../src/core/channel-rules.js";
import { silentLog, type Log } from "../../../../src/core/log.js";
import { createPusherProtocol } from "../../../../src/protocols/pusher/protocol.js";
import { PUSHER, PUSHER_DEFAULTS, type PusherSettings } from "../../../../src/protocols/pusher/settings.js";
import { sign } from "../../../../src/protocols/pusher/signature.js";
import {
  authorizer,
  noPresence,
  startEdge,
  turn,
  type FakeSocket,
  type TestEdge,
} from "../../core/harness.js";

const KEY = "key-of-shop";
const SECRET = "secret-of-the-shop";

let test: TestEdge;
let lines: [Record<string, unknown>, string][];

async function start(
  settings: Partial<PusherSettings> = {},
  {
    app = {},
    ...parts
  }: Omit<NonNullable<Parameters<typeof startEdge>[0]>, "apps"> & { app?: Partial<App> } = {},
): Promise<void> {
  const log: Log = { ...silentLog, debugs: true, debug: (...line) => void lines.push(line) };
  const shop = new App({
    id: "shop",
    authorizer: authorizer(),
    rulesOf: () => DEFAULT_RULES,
    keys: [{ key: KEY, secret: SECRET }],
    protocolSettings: { [PUSHER]: { ...PUSHER_DEFAULTS, ...settings } },
    ...app,
  });
  test = await startEdge({ protocols: [createPusherProtocol({ prefix: "" })], apps: [shop], log, ...parts });
}

const open = (key = KEY): FakeSocket => test.connect({ path: `/app/${key}`, query: "protocol=7" });

const socketIdOf = ({ received }: FakeSocket): string =>
  (JSON.parse(received[0]!["data"] as string) as { socket_id: string }).socket_id;

beforeEach(() => {
  lines = [];
});
afterEach(async () => {
  vi.useRealTimers();
  await test.stop();
});

describe("a client that must prove who it is", () => {
  it("is told so and closed once its time is over, in words of this protocol", async () => {
    vi.useFakeTimers();
    await start({ authorizeWithinMs: 5000 });
    const [silent, proves] = [open(), open()];
    const auth = `${KEY}:${sign(SECRET, `${socketIdOf(proves)}:private-a`)}`;
    proves.type({ event: "pusher:subscribe", data: { channel: "private-a", auth } });
    vi.advanceTimersByTime(7000);
    const message =
      "not authorized within 5000 ms: sign in or subscribe by a signature (pusher.authorizeWithinMs)";
    expect(silent.last).toEqual({ event: "pusher:error", data: { code: 4009, message } });
    expect(silent.closedWith).toEqual({ code: 4009, reason: message });
    expect(test.stats.disconnects.get("pusher")).toEqual(new Map([["connect_timeout", 1]]));
    expect(proves.open).toBe(true);
  });
});

describe("a user's id that has other characters than Pusher's", () => {
  it.each(["auth0|1234", "ann+x@example.com"])(
    "is refused where it is signed, and the socket stays: %s",
    async (id) => {
      await start();
      const client = open();
      const auth = (text: string): string => `${KEY}:${sign(SECRET, `${socketIdOf(client)}:${text}`)}`;
      const userData = JSON.stringify({ id });
      client.type({
        event: "pusher:signin",
        data: { auth: auth(`:user::${userData}`), user_data: userData },
      });
      const error = `user id "${id}" is not valid: 1 to 128 of A-Z a-z 0-9 _ - = @ , . ; are allowed`;
      expect(client.last).toEqual({ event: "pusher:error", data: { code: null, message: error } });
      const channelData = JSON.stringify({ user_id: id });
      client.type({
        event: "pusher:subscribe",
        data: { channel: "presence-a", channel_data: channelData, auth: auth(`presence-a:${channelData}`) },
      });
      const data = { type: "AuthError", error, status: 401 };
      expect(client.last).toEqual({ event: "pusher:subscription_error", channel: "presence-a", data });
      expect(client.open).toBe(true);
    },
  );
});

describe("at level debug the log has a line", () => {
  const told = (): unknown[] =>
    lines.map(([fields, message]) => [message, fields["reason"] ?? fields["code"]]);

  it("for each connection that was refused", async () => {
    await start({}, { app: { maxConnections: 1, origins: ["https://shop.example"] } });
    open("unknown");
    open();
    open();
    test.connect({ path: `/app/${KEY}`, query: "protocol=7", origin: "https://evil.example" });
    expect(told()).toEqual([
      [
        expect.stringMatching(/^a connection was refused: no app of this node has the key "unknown"/),
        "app_key",
      ],
      [expect.stringMatching(/^a connection was refused: connection limit of app "shop"/), "app_full"],
      [`a connection was refused: origin "https://evil.example" is not allowed`, "origin"],
    ]);
    expect(lines[2]![0]).toEqual({
      ...{ protocol: "pusher", reason: "origin", path: `/app/${KEY}` },
      ...{ origin: "https://evil.example", address: "10.0.0.1" },
    });
  });

  it("for each signature that was refused, and none has a secret", async () => {
    await start();
    const client = open();
    client.type({ event: "pusher:subscribe", data: { channel: "private-a", auth: `${KEY}:00` } });
    client.type({ event: "pusher:signin", data: { auth: `${KEY}:00`, user_data: '{"id":"ann"}' } });
    expect(told()).toEqual([
      [
        expect.stringMatching(/^a client was refused: the signature in "auth" is wrong: .*:private-a/),
        "forbidden",
      ],
      [
        expect.stringMatching(/^a sign-in was refused: the signature in "auth" is wrong: .*::user::/),
        undefined,
      ],
    ]);
    for (const [fields] of lines)
      expect(fields).toMatchObject({ app: "shop", connection: expect.any(String) });
    expect(JSON.stringify(lines)).not.toContain(SECRET);
  });
});

describe("a limit that is reached is told with the setting that says it", () => {
  const subscribe = (client: FakeSocket, channel: string): void => {
    const channelData = '{"user_id":"ann"}';
    const signed = channel.startsWith("presence-") ? `${channel}:${channelData}` : channel;
    const auth = `${KEY}:${sign(SECRET, `${socketIdOf(client)}:${signed}`)}`;
    client.type({
      event: "pusher:subscribe",
      data: { channel, auth, ...(signed === channel ? {} : { channel_data: channelData }) },
    });
  };

  it("of channels and the bytes of their names together", async () => {
    await start({}, { options: { maxChannelsPerConnection: 3, maxChannelNameBytes: 300 } });
    const client = open();
    const told = (): unknown => (client.last!["data"] as { error: string }).error;
    for (const name of ["a".repeat(200), "b".repeat(101)]) subscribe(client, name);
    expect(told()).toBe(
      "channel name limit reached (301 bytes of all names together, maxChannelNameBytes 300): unsubscribe from some",
    );
    for (const name of ["b", "c", "d"]) subscribe(client, name);
    expect(told()).toBe("channel limit reached (maxChannelsPerConnection 3): unsubscribe from some");
  });

  it("of members", async () => {
    const presence = { ...noPresence, enter: () => Promise.resolve(false) };
    const rulesOf = (): typeof DEFAULT_RULES => ({ ...DEFAULT_RULES, presence: true, joinLeave: true });
    await start({ maxPresenceMembers: 2 }, { presence, app: { rulesOf } });
    const client = open();
    subscribe(client, "presence-a");
    await turn();
    expect(client.last).toMatchObject({
      event: "pusher:subscription_error",
      data: { error: 'channel "presence-a" is full: it has 2 members (pusher.maxPresenceMembers)' },
    });
  });

  it("of client events", async () => {
    await start({ clientEvents: true, clientEventsPerSecond: 1 });
    const client = open();
    subscribe(client, "private-a");
    for (let i = 0; i < 2; i++) client.type({ event: "client-a", channel: "private-a", data: {} });
    expect((client.last!["data"] as { message: string }).message).toBe(
      "client events of this connection reached their rate limit (pusher.clientEventsPerSecond 1)",
    );
  });

  it("of a frame", async () => {
    await start({}, { options: { maxFrameBytes: 300 } });
    const client = open();
    client.type(" ".repeat(301));
    expect((client.last!["data"] as { message: string }).message).toBe(
      "the frame has 301 bytes, at most 300 are allowed (maxFrameBytes)",
    );
  });
});
