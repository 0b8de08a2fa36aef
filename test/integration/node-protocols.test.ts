/** A node that speaks one protocol more: what is common to all works for it unasked. */

import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { StarlingError } from "../../src/core/errors.js";
import type { Protocol } from "../../src/core/protocol.js";
import { createProtocols } from "../../src/protocols/protocols.js";
import { echoProtocol } from "../support/echo/protocol.js";
import { cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";

const open: WebSocket[] = [];
afterEach(async () => {
  for (const socket of open.splice(0)) socket.terminate();
  await cleanUp();
});

const start = (options: Parameters<typeof startTestNode>[0] = {}): Promise<InProcessNode> =>
  startTestNode({ ...options }, { protocols: [echoProtocol, ...createProtocols({ pusherPath: "" })] });

interface Echo {
  readonly socket: WebSocket;
  readonly texts: string[];
  closedWith: number | undefined;
  say(text: string): void;
  heard(text: string): Promise<void>;
}

async function connectEcho({ wsUrl }: InProcessNode): Promise<Echo> {
  const socket = new WebSocket(`${wsUrl}/echo`);
  open.push(socket);
  const texts: string[] = [];
  const echo: Echo = {
    socket,
    texts,
    closedWith: undefined,
    say: (text) => socket.send(text),
    heard: async (text) => {
      await until(text, () => texts.includes(text));
    },
  };
  socket.on("message", (data: Buffer) => texts.push(data.toString()));
  socket.on("close", (code) => (echo.closedWith = code));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return echo;
}

describe("a protocol more", () => {
  it("meets the native one on the same channels", async () => {
    const node = await start();
    const [echo, native] = [await connectEcho(node), await node.client()];
    echo.say("room");
    await echo.heard("+room");
    await native.do("subscribe", { channel: "room" });
    await native.do("send", { channel: "room", content: { a: 1 } });
    await echo.heard('room {"a":1}');
    echo.say("room hello");
    await echo.heard("room hello");
    await native.contents("room", 2);
    expect(native.messages("room").map((message): unknown => message["content"])).toEqual([
      { a: 1 },
      "hello",
    ]);
  });

  it("is counted, listed by the API, and told its errors", async () => {
    const node = await start();
    const echo = await connectEcho(node);
    echo.say("room");
    await echo.heard("+room");
    echo.say("#user:1");
    await echo.heard("!forbidden");
    const { body } = await node.get<{ channels: unknown }>("/v1/channels");
    expect(body).toMatchObject({ channels: [{ channel: "room", subscribers: 1 }] });
    expect(await node.metric('starling_messages_in_total{protocol="echo",codec="text"}')).toBe(2);
    echo.socket.close();
    await until("closed", () => echo.closedWith !== undefined);
    const closed = 'starling_disconnects_total{protocol="echo",reason="client"}';
    await until("counted", async () => (await node.metric(closed)) === 1);
  });

  it("is held to the limits", async () => {
    const node = await start({ messagesPerSecond: 1, messagesBurst: 2, maxConnections: 1 });
    const echo = await connectEcho(node);
    for (const text of ["room a", "room b", "room c"]) echo.say(text);
    await echo.heard("!rate_limited");
    await expect(connectEcho(node)).rejects.toThrow("503");
  });

  it("is closed as a slow reader, by its own close code", async () => {
    const node = await start({ maxBufferedBytes: 65_536, messagesBurst: 10_000, bytesBurst: 2 ** 30 });
    const [echo, native] = [await connectEcho(node), await node.client()];
    echo.say("room");
    await echo.heard("+room");
    echo.socket.pause();
    const closed = 'starling_disconnects_total{protocol="echo",reason="slow_reader"}';
    await until("closed", async () => {
      for (let i = 0; i < 20; i++)
        native.send({ action: "send", channel: "room", content: "x".repeat(60_000) });
      return (await node.metric(closed)) === 1;
    });
  });

  it("is drained, and leaves no session", async () => {
    const node = await start();
    const echo = await connectEcho(node);
    echo.say("room");
    await echo.heard("+room");
    await node.drain();
    await until("closed", () => echo.closedWith !== undefined);
    expect(echo.closedWith).toBe(1001);
  });
});

describe("the HTTP side of a protocol", () => {
  const http: Protocol["http"] = (request) => {
    if (request.path !== "/echo/size") return undefined;
    return request.readBody(1000).then(
      (bytes) => ({ status: 200, headers: {}, body: String(bytes.length) }),
      (error: StarlingError) => ({ status: 400, headers: {}, body: error.code }),
    );
  };
  const startHttp = async (): Promise<(path: string, init?: RequestInit) => Promise<Response>> => {
    const node = await startTestNode(
      {},
      { protocols: [{ ...echoProtocol, http }, ...createProtocols({ pusherPath: "" })] },
    );
    const url = node.wsUrl.replace("ws:", "http:");
    return (path, init) => fetch(url + path, init);
  };
  const post = (body: BodyInit): RequestInit => ({ method: "POST", body });

  it("takes bodies within its own limit and the port's", async () => {
    const ask = await startHttp();
    for (const length of [0, 1, 1000]) {
      const response = await ask("/echo/size", post("x".repeat(length)));
      expect([response.status, await response.text()]).toEqual([200, String(length)]);
    }
    expect(await (await ask("/echo/size", post("x".repeat(1001)))).text()).toBe("too_large");
    expect((await ask("/echo/size", post("x".repeat(1_048_577)))).status).toBe(413);
  });

  it("leaves other paths to the site, and refuses bodies without a length", async () => {
    const ask = await startHttp();
    expect((await ask("/other", post("x"))).status).toBe(400);
    expect((await ask("/other")).status).toBe(404);
    const chunked = new ReadableStream({
      start(controller) {
        controller.enqueue(new Uint8Array(1));
        controller.close();
      },
    });
    const response = await ask("/echo/size", { ...post(chunked), duplex: "half" } as RequestInit);
    expect(response.status).toBe(400);
  });

  it("is answered 500 where it throws, and the node goes on", async () => {
    const http: Protocol["http"] = () => {
      throw new Error("a mistake");
    };
    const node = await startTestNode(
      {},
      { protocols: [{ ...echoProtocol, http }, ...createProtocols({ pusherPath: "" })] },
    );
    for (const path of ["/a", "/b"]) {
      expect((await fetch(node.wsUrl.replace("ws:", "http:") + path)).status).toBe(500);
    }
    expect(await (await node.client()).do("ping")).toMatchObject({ type: "reply" });
  });

  it("ends the connection where its answer cannot be written, and the node goes on", async () => {
    const http: Protocol["http"] = async ({ path }) => {
      if (path === "/later") await new Promise((resolve) => setTimeout(resolve, 20));
      return { status: 200, headers: { "x-number": 5 as never }, body: "" };
    };
    const node = await startTestNode(
      {},
      { protocols: [{ ...echoProtocol, http }, ...createProtocols({ pusherPath: "" })] },
    );
    for (const path of ["/now", "/later"]) {
      await expect(fetch(node.wsUrl.replace("ws:", "http:") + path)).rejects.toThrow();
    }
    expect(await (await node.client()).do("ping")).toMatchObject({ type: "reply" });
  });

  it("reads a body that comes in pieces, and forgets one that never ends", async () => {
    const node = await startTestNode(
      {},
      { protocols: [{ ...echoProtocol, http }, ...createProtocols({ pusherPath: "" })] },
    );
    const { port } = new URL(node.wsUrl);
    const socket = connect(Number(port), "127.0.0.1");
    const head = "POST /echo/size HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n";
    socket.write(`${head}abc`);
    await new Promise((resolve) => setImmediate(resolve));
    socket.write("def");
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toContain("\r\n\r\n6");
    socket.write(`${head}abc`);
    socket.destroy();
    const client = await node.client();
    expect(await client.do("ping")).toMatchObject({ type: "reply" });
  });
});
