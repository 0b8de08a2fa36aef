/** The composables in Vue itself, in a page of happy-dom. */

import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  createApp,
  createSSRApp,
  defineComponent,
  effectScope,
  h,
  nextTick,
  reactive,
  ref,
  type Ref,
} from "vue";
import { renderToString } from "vue/server-renderer";
import { WebSocket } from "ws";
import { useClient, useConnectionState, usePresence, useSubscription } from "../../../src/client/vue.js";
import { succeed, type FakeServer } from "../../support/fake-server.js";
import { startServer, until } from "./harness.js";

/** Vue takes the document of where it is loaded. */
const page = await vi.hoisted(async () => {
  const { Window } = await import("happy-dom");
  const window = new Window();
  vi.stubGlobal("window", window);
  for (const name of ["document", "Element", "SVGElement"] as const) vi.stubGlobal(name, window[name]);
  return window;
});

const heard: unknown[] = [];
const options = { WebSocket, backoff: { baseMs: 1, capMs: 1 } };
const answers: NonNullable<FakeServer["options"]["respond"]> = (command, connection) => {
  if (command["channel"] === "secret" && command.action === "subscribe")
    return { code: "forbidden", message: "not you", temporary: false };
  if (command.action === "presence") return { connections: 1, users: 1, members: [{ connection: "c1" }] };
  return succeed(command, connection);
};

function use(url: string, channel: Ref<string>): () => string {
  const client = useClient(url, options);
  const state = useConnectionState(client);
  const held = useSubscription(client, channel, ({ content }) => heard.push(content));
  const presence = usePresence(client, channel);
  return () => {
    const { subscribed, refusal } = held.value;
    return [state.value, subscribed, refusal?.code ?? "none", presence.value.count ?? "?"]
      .map(String)
      .join(" ");
  };
}

const roomOf = (url: string, channel: Ref<string>) =>
  defineComponent({
    setup() {
      const text = use(url, channel);
      return () => h("p", text());
    },
  });

beforeEach(() => {
  heard.length = 0;
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await page.happyDOM.close();
});

describe("the composables of Vue", () => {
  it("connect, subscribe, follow and end with the component", async () => {
    const server = await startServer({ respond: answers });
    const live = () => server.connections.filter(({ closedWith }) => closedWith === undefined);
    const channel = ref("room");
    const place = page.document.createElement("div");
    const app = createApp(roomOf(server.url, channel));
    app.mount(place as unknown as Element);
    expect(place.textContent).toBe("connecting false none ?");
    await until(() => place.textContent === "connected true none 1");
    server.last.send({ type: "message", channel: "room", content: 1 });
    await until(() => heard.length === 1);
    channel.value = "secret";
    await until(() => place.textContent === "connected false forbidden ?");
    expect(server.last.channels("unsubscribe")).toEqual(["room"]);
    channel.value = "room";
    await until(() => place.textContent === "connected true none 1");
    server.last.terminate();
    await until(() => server.connections.length === 2 && place.textContent === "connected true none 1");
    app.unmount();
    await until(() => live().length === 0);
    expect(server.last.closedWith).toBe(1000);
  });

  it("work in a scope without a component, and in a reactive object", async () => {
    const server = await startServer({ respond: answers });
    const scope = effectScope();
    const store = scope.run(() => {
      const client = useClient(server.url, options);
      return reactive({ client, state: useConnectionState(client) });
    })!;
    await until(() => store.state === "connected");
    await store.client!.publish("room", 1);
    scope.stop();
    await until(() => server.last.closedWith === 1000);
    await nextTick();
    expect(store.client).toBeUndefined();
  });

  it("do nothing on a server", async () => {
    const server = await startServer();
    const html = await renderToString(createSSRApp(roomOf(server.url, ref("room"))));
    expect(html).toBe("<p>connecting false none ?</p>");
    expect(server.connections).toEqual([]);
  });
});
