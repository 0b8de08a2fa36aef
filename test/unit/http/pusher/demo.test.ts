/** The back end of pusher-js's demo page: what it signs and publishes, and what it does not. */

import { expect, it } from "vitest";
import { Identifiers } from "../../../../src/core/identifiers.js";
import { StarlingError } from "../../../../src/core/errors.js";
import type { PublishInput } from "../../../../src/core/operations.js";
import type { HttpRequest } from "../../../../src/core/transport.js";
import { Encoding } from "../../../../src/encoding/payload.js";
import { createPusherDemo } from "../../../../src/http/pusher/demo.js";
import { sign } from "../../../../src/protocols/pusher/signature.js";

const pair = { key: "key", secret: "secret-of-the-demo" };
const identifiers = new Identifiers("n");
const SOCKET_ID = identifiers.numberOf(identifiers.next());
const FORM = {
  socket_id: SOCKET_ID,
  channel_name: "presence-lobby",
  user: "u1",
  name: "Ada",
};
const SAID = { name: "Ada", text: "hi", id: "1" };
const JSON_TYPE = { "content-type": "application/json" };

function demo({ live = true, failure }: { live?: boolean; failure?: StarlingError } = {}) {
  const published: PublishInput[] = [];
  const handle = createPusherDemo({
    operations: {
      publish(input) {
        published.push(input);
        return failure === undefined ? Promise.resolve(undefined) : Promise.reject(failure);
      },
    },
    apps: { ofKey: (key) => (live && key === pair.key ? ({ id: "main" } as never) : undefined) },
    pair,
    pathPrefix: "/prefix",
  });
  async function ask(
    method: string,
    path: string,
    { body = "", headers = {} }: { body?: string; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; text: string } | undefined> {
    const request: HttpRequest = {
      ...{ method, path, query: "", hasBody: body !== "" },
      header: (name) => headers[name],
      readBody: (most) => {
        const bytes = Buffer.from(body);
        if (bytes.length <= most) return Promise.resolve(bytes);
        return Promise.reject(new StarlingError("too_large", `at most ${most} bytes`));
      },
    };
    const response = await handle(request);
    return response && { status: response.status, text: response.body.toString() };
  }
  return {
    ask,
    published,
    authorize: (fields: object) =>
      ask("POST", "/pusher/auth", { body: new URLSearchParams({ ...FORM, ...fields }).toString() }),
    say: (fields: object) =>
      ask("POST", "/pusher/messages", { body: JSON.stringify({ ...SAID, ...fields }), headers: JSON_TYPE }),
  };
}

it("tells pages where they connect, and nothing secret", async () => {
  const answer = await demo().ask("GET", "/pusher/settings");
  expect(JSON.parse(answer!.text)).toEqual({
    ...{ key: "key", path: "/prefix" },
    ...{ room: "lobby", members: "presence-lobby" },
  });
});

it("signs whoever a page says it is into its presence channel", async () => {
  const answer = await demo().authorize({});
  const channelData = '{"user_id":"u1","user_info":{"name":"Ada"}}';
  expect(JSON.parse(answer!.text)).toEqual({
    auth: `key:${sign(pair.secret, `${SOCKET_ID}:presence-lobby:${channelData}`)}`,
    channel_data: channelData,
  });
});

it.each([
  [{ channel_name: "presence-other" }, 403, 'not "presence-other"'],
  [{ channel_name: "private-lobby" }, 403, "the demo signs for presence-lobby"],
  // What is signed must not be read as another channel, or a sign-in.
  [{ socket_id: "1.2:private-a" }, 400, "socket_id"],
  [{ socket_id: "1.2::user::{}" }, 400, "socket_id"],
  [{ user: "" }, 400, "user id"],
  [{ user: "a b" }, 400, "user id"],
])("does not sign %j", async (fields, status, words) => {
  expect(await demo().authorize(fields)).toMatchObject({
    status,
    text: expect.stringContaining(words) as string,
  });
});

it("publishes what a page says to the room, dated by itself", async () => {
  const { say, published } = demo();
  expect(await say({ text: "é", more: 1 })).toEqual({ status: 200, text: "{}" });
  expect(published).toMatchObject([{ app: "main", channel: "lobby", event: "message", exclude: undefined }]);
  const { bytes, encoding } = published[0]!.payload;
  expect(encoding).toBe(Encoding.text);
  expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({
    ...SAID,
    text: "é",
    at: expect.any(Number) as number,
  });
});

it.each([
  [{ text: "" }, 400],
  [{ text: "x".repeat(2001) }, 400],
  [{ text: 7 }, 400],
  [{ name: "n".repeat(41) }, 400],
  [{ id: null }, 400],
  [{ text: "x".repeat(20_000) }, 413],
])("does not publish what is no message: %j", async (fields, status) => {
  const { say, published } = demo();
  expect((await say(fields))?.status).toBe(status);
  expect(published).toEqual([]);
});

it("takes no message as a form, which other sites' pages can send", async () => {
  const { ask, published } = demo();
  const form = { body: JSON.stringify(SAID), headers: { "content-type": "text/plain" } };
  expect((await ask("POST", "/pusher/messages", form))?.status).toBe(415);
  expect(published).toEqual([]);
});

it("says that the bus did not take a message", async () => {
  const { say } = demo({ failure: new StarlingError("unavailable", "the bus is away") });
  expect(await say({})).toEqual({ status: 503, text: "the bus is away\n" });
});

it("leaves everything else to others, and all of it once the app has other keys", async () => {
  const { ask } = demo();
  for (const [method, path] of [
    ["GET", "/pusher"],
    ["GET", "/pusher/auth"],
    ["POST", "/pusher/settings"],
    ["GET", "/"],
  ]) {
    expect(await ask(method!, path!)).toBeUndefined();
  }
  expect(await demo({ live: false }).authorize({})).toBeUndefined();
});
