/** The hooks in React itself, by react-dom in a page of happy-dom. */

import { Window } from "happy-dom";
import { StrictMode, act, createElement, type ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { useClient, useConnectionState, usePresence, useSubscription } from "../../../src/client/react.js";
import { succeed, type FakeServer } from "../../support/fake-server.js";
import { startServer, until } from "./harness.js";

const heard: unknown[] = [];
interface Shown {
  url: string;
  channel: string;
  mark: string;
}

function Room({ url, channel, mark }: Shown): ReactNode {
  const client = useClient(url, { WebSocket, backoff: { baseMs: 1, capMs: 1 } });
  const state = useConnectionState(client);
  const { subscribed, refusal } = useSubscription(client, channel, ({ content }) =>
    heard.push([mark, content]),
  );
  const { count } = usePresence(client, channel);
  return [state, subscribed, refusal?.code ?? "none", count ?? "?"].map(String).join(" ");
}

const answers: NonNullable<FakeServer["options"]["respond"]> = (command, connection) => {
  if (command["channel"] === "secret" && command.action === "subscribe")
    return { code: "forbidden", message: "not you", temporary: false };
  if (command.action === "presence")
    return { connections: 1, users: 1, members: [{ connection: "c1", user: "42" }] };
  return succeed(command, connection);
};

let page: HTMLElement;
/** One for all, and to the end: React's scheduler still looks at it when a test is over. */
const window = new Window();
beforeEach(() => {
  heard.length = 0;
  vi.stubGlobal("window", window);
  vi.stubGlobal("document", window.document);
  vi.stubGlobal("navigator", window.navigator);
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  page = window.document.createElement("div") as unknown as HTMLElement;
});

/** What arrives by socket changes the page outside of act, which is meant. */
async function shows(text: string): Promise<void> {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", false);
  await until(() => page.textContent === text);
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
}

async function mounted(first: Shown) {
  const { createRoot } = await import("react-dom/client");
  const root = createRoot(page);
  const render = (shown: Shown) =>
    act(() => root.render(createElement(StrictMode, null, createElement(Room, shown))));
  render(first);
  return { render, unmount: () => act(() => root.unmount()) };
}

describe("the hooks of React", () => {
  it("connect, subscribe, follow and end with the component, in StrictMode", async () => {
    const server = await startServer({ respond: answers });
    const live = () => server.connections.filter(({ closedWith }) => closedWith === undefined);
    const { render, unmount } = await mounted({ url: server.url, channel: "room", mark: "a" });
    expect(page.textContent).toBe("connecting false none ?");
    await shows("connected true none 1");
    await until(() => live().length === 1);
    live()[0]!.send({ type: "message", channel: "room", content: 1 });
    await until(() => heard.length === 1);
    // The handler of the last render is called; nothing is subscribed anew for it.
    render({ url: server.url, channel: "room", mark: "b" });
    live()[0]!.send({ type: "message", channel: "room", content: 2 });
    await until(() => heard.length === 2);
    expect(heard).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    expect(live()[0]!.channels("subscribe")).toEqual(["room"]);
    render({ url: server.url, channel: "secret", mark: "b" });
    await until(() => live()[0]!.channels("unsubscribe").includes("room"));
    await shows("connected false forbidden ?");
    render({ url: server.url, channel: "room", mark: "b" });
    await shows("connected true none 1");
    const before = server.connections.length;
    live()[0]!.terminate();
    await until(
      () => server.connections.length > before && server.last.channels("subscribe").includes("room"),
    );
    await shows("connected true none 1");
    unmount();
    await until(() => live().length === 0);
    expect(server.connections.at(-1)!.closedWith).toBe(1000);
  });

  it("connect anew for another URL, and close the connection before", async () => {
    const [first, second] = [
      await startServer({ respond: answers }),
      await startServer({ respond: answers }),
    ];
    const { render, unmount } = await mounted({ url: first.url, channel: "room", mark: "a" });
    await shows("connected true none 1");
    render({ url: second.url, channel: "room", mark: "a" });
    await until(() => second.connections.length === 1);
    await shows("connected true none 1");
    await until(() => first.connections.every(({ closedWith }) => closedWith === 1000));
    unmount();
  });

  it("do nothing on a server", async () => {
    const server = await startServer();
    const html = renderToString(createElement(Room, { url: server.url, channel: "room", mark: "a" }));
    expect(html).toBe("connecting false none ?");
    expect(server.connections).toEqual([]);
  });
});
