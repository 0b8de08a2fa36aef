/** examples/pusher-node as it stands there: a real node, its back end, and pusher-js as a page has it. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import PusherJs, { type PresenceChannel } from "pusher-js";
import { afterEach, expect, it, onTestFinished } from "vitest";
import { cleanUp, startTestNode, until } from "../support/nodes.js";

/** Its types say that the class is the default export of what is the class itself. */
const PusherClient = PusherJs as unknown as typeof PusherJs.default;
const FOLDER = fileURLToPath(new URL("../../examples/pusher-node/", import.meta.url));
const APP = { key: "key-of-the-shop", secret: "secret-of-the-shop" };

afterEach(cleanUp);

/** @returns the URL that it prints */
async function startBackEnd(port: number): Promise<string> {
  const child = spawn(process.execPath, ["server.js"], {
    cwd: FOLDER,
    env: {
      ...process.env,
      ...{ PORT: "0", PUSHER_PORT: String(port) },
      ...{ PUSHER_APP_ID: "main", PUSHER_APP_KEY: APP.key, PUSHER_APP_SECRET: APP.secret },
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  return /http:\/\/[^ /]+/.exec(line)![0];
}

it("authorizes channels, triggers events but to who caused them, and knows who is there", async () => {
  const node = await startTestNode({ appKey: APP.key, appSecret: APP.secret });
  const wsPort = Number(new URL(node.wsUrl).port);
  const backEnd = await startBackEnd(wsPort);
  expect(await (await fetch(`${backEnd}/settings`)).json()).toEqual({
    key: APP.key,
    wsHost: "127.0.0.1",
    wsPort,
  });
  expect(await (await fetch(`${backEnd}/`)).text()).toContain("/pusher.js");
  expect(await (await fetch(`${backEnd}/pusher.js`)).text()).toContain("Pusher");

  function shopper(user: string) {
    const client = new PusherClient(APP.key, {
      ...{ cluster: "", wsHost: "127.0.0.1", wsPort, forceTLS: false, enabledTransports: ["ws"] },
      channelAuthorization: {
        ...{ endpoint: `${backEnd}/pusher/auth`, transport: "ajax" },
        params: { user, name: `Shopper ${user}` },
      },
    });
    onTestFinished(() => client.disconnect());
    const heard: unknown[] = [];
    const orders = client.subscribe("private-orders");
    orders.bind("ordered", (data: unknown) => heard.push(data));
    return { client, orders, heard, shop: client.subscribe("presence-shop") as PresenceChannel };
  }
  const [ann, bob] = [shopper("1"), shopper("2")];
  await until("both are there", () =>
    [ann, bob].every(({ orders, shop }) => orders.subscribed && shop.members.count === 2),
  );
  expect(ann.shop.members.get("2")).toEqual({ id: "2", info: { name: "Shopper 2" } });

  const order = { item: "tea", socket_id: ann.client.connection.socket_id };
  const ordered = await fetch(`${backEnd}/orders`, { method: "POST", body: JSON.stringify(order) });
  expect([ordered.status, await ordered.json()]).toEqual([200, { item: "tea" }]);
  await until("the other shopper hears it", () => bob.heard.length > 0);
  expect([ann.heard, bob.heard]).toEqual([[], [{ item: "tea" }]]);
  expect(await (await fetch(`${backEnd}/shoppers`)).json()).toEqual({ users: [{ id: "1" }, { id: "2" }] });

  const refused = ann.client.subscribe("private-others");
  const [error] = await new Promise<unknown[]>((resolve) => {
    refused.bind("pusher:subscription_error", (...told: unknown[]) => resolve(told));
  });
  expect(error).toMatchObject({ type: "AuthError", status: 403 });
});

it("asks for the versions that are tested", () => {
  const versions = (path: string, field: string): Record<string, string> =>
    (JSON.parse(readFileSync(path, "utf8")) as Record<string, Record<string, string>>)[field]!;
  const own = versions(`${FOLDER}package.json`, "dependencies");
  expect(versions(`${FOLDER}../../package.json`, "devDependencies")).toMatchObject(own);
});
