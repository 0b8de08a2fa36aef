import { createServer, type AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { connect, type Client } from "../../src/client/index.js";
import { startBrowser, type TestBrowser } from "../support/browser.js";
import { startRedis, type RedisServer } from "../support/redis-server.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { startBuiltNode, type BuiltNode, type BuiltNodeOptions } from "./built-node.js";
import { DEADLINE, enterChat, openChat, type ChatPage } from "./chat-page.js";

let browser: TestBrowser;
let redis: RedisServer;
beforeAll(async () => {
  [browser, redis] = await Promise.all([startBrowser(), startRedis()]);
});
afterAll(async () => {
  await browser.close();
  await redis.stop();
});

const cleanups: (() => unknown)[] = [];
const faultsOf: string[][] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  // Whatever a test is about: no script of the page may throw or offend against its content policy.
  expect(faultsOf.splice(0).flat()).toEqual([]);
});

async function node(options: BuiltNodeOptions): Promise<BuiltNode> {
  const started = await startBuiltNode(options);
  cleanups.push(() => started.kill());
  return started;
}

let fleets = 0;

async function pair(args: string[] = []): Promise<{ a: BuiltNode; b: BuiltNode; prefix: string }> {
  // Every test has the Redis to itself.
  const prefix = `e2e-${++fleets}:`;
  const shared = { redisUrl: redis.url, args: ["--redis-prefix", prefix, "--lease-ttl-ms", "1500", ...args] };
  const [a, b] = await Promise.all([node({ id: "node-a", ...shared }), node({ id: "node-b", ...shared })]);
  return { a, b, prefix };
}

async function proxyTo(port: number): Promise<TcpProxy> {
  const proxy = await startTcpProxy(port);
  cleanups.push(() => proxy.close());
  return proxy;
}

function known(chat: ChatPage): ChatPage {
  faultsOf.push(chat.faults);
  cleanups.push(() => chat.page.context().close());
  return chat;
}

async function enter(
  url: string,
  name: string,
  options?: Parameters<typeof enterChat>[3],
): Promise<ChatPage> {
  return known(await enterChat(browser, url, name, options));
}

/** Another program on the same channels, connected. */
async function program(url: string): Promise<Client> {
  const client = connect(url, { WebSocket });
  cleanups.push(() => client.close());
  await client.subscribe("elsewhere", () => undefined).ready;
  return client;
}

async function texts(chat: ChatPage): Promise<string[]> {
  return (await chat.messages()).map(({ text }) => text);
}

const sent = { fate: "sent", note: "" };

/** Says something and waits until it has its place in the channel's order: what is pending moves below what comes. */
async function saidThere(chat: ChatPage, text: string, node: string): Promise<void> {
  await chat.say(text);
  await expect
    .poll(async () => (await chat.messages()).at(-1), DEADLINE)
    .toEqual({ name: "You", node, text, ...sent });
}

describe("two pages on two nodes", () => {
  it("chat: who said it, on which node, and one's own are marked", async () => {
    const { a, b } = await pair();
    const [ada, bob] = [await enter(a.demoUrl, "Ada"), await enter(b.demoUrl, "Bob")];
    expect([await ada.text("#node"), await bob.text("#node")]).toEqual(["node-a", "node-b"]);

    await ada.say("hello from a");
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["hello from a"]);
    await bob.say("hello from b");
    await expect
      .poll(() => ada.messages(), DEADLINE)
      .toEqual([
        { name: "You", node: "node-a", text: "hello from a", ...sent },
        { name: "Bob", node: "node-b", text: "hello from b", ...sent },
      ]);
    await expect
      .poll(() => bob.messages(), DEADLINE)
      .toEqual([
        { name: "Ada", node: "node-a", text: "hello from a", ...sent },
        { name: "You", node: "node-b", text: "hello from b", ...sent },
      ]);
    expect(await ada.text("#count")).toBe("2 messages");
    await expect.poll(() => ada.text("#trip"), DEADLINE).toMatch(/^[\d.]+ m?s$/);
  });

  it("keep channels apart, and the page keeps the name and the channel over a reload", async () => {
    const { a, b } = await pair();
    const [ada, bob] = [await enter(a.demoUrl, "Ada"), await enter(`${b.demoUrl}?channel=chat:b`, "Bob")];
    expect(await bob.text("#channel")).toBe("chat:b");
    await ada.page.fill("#join-name", "chat:b");
    await ada.page.press("#join-name", "Enter");
    await ada.say("into b");
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["into b"]);

    await ada.page.click(".room >> text=chat:lobby");
    expect(await texts(ada)).toEqual([]);
    await bob.say("unread");
    await expect.poll(() => ada.text(".room:has-text('chat:b') .room-unread"), DEADLINE).toBe("1");
    await ada.page.click(".room >> text=chat:b");
    expect(await texts(ada)).toEqual(["into b", "unread"]);

    await ada.page.reload();
    await expect.poll(() => ada.text("#state"), DEADLINE).toBe("Connected");
    expect([await ada.text("#me-name"), await ada.text("#channel")]).toEqual(["Ada", "chat:b"]);
    expect(await ada.page.isVisible("#hello")).toBe(false);
    // What this tab said before is still its own.
    await expect
      .poll(() => ada.messages(), DEADLINE)
      .toEqual([
        { name: "You", node: "node-a", text: "into b", ...sent },
        { name: "Bob", node: "node-b", text: "unread", ...sent },
      ]);
  });
});

describe("who comes later", () => {
  it("sees what was said before, in order, above a divider, and then what is said now", async () => {
    const { a, b } = await pair();
    const ada = await enter(a.demoUrl, "Ada");
    for (const text of ["one", "two", "three"]) {
      await ada.say(text);
      await expect.poll(async () => (await ada.messages()).at(-1), DEADLINE).toMatchObject({ text, ...sent });
    }
    const bob = await enter(b.demoUrl, "Bob");
    const earlier = ["one", "two", "three", "Earlier messages above"];
    await expect.poll(() => bob.lines(), DEADLINE).toEqual(earlier);
    expect((await bob.messages())[0]).toEqual({ name: "Ada", node: "node-a", text: "one", ...sent });
    expect(await bob.page.textContent(".message .at")).toMatch(/^\d\d:\d\d$/);
    expect(await bob.text("#count")).toBe("3 messages");

    await ada.say("now");
    await bob.say("hello");
    await expect.poll(() => texts(ada), DEADLINE).toEqual(["one", "two", "three", "now", "hello"]);
    expect(await bob.lines()).toEqual([...earlier, "now", "hello"]);
    expect(await ada.notes()).toEqual([]);
  });

  it("sees the newest 50 only, of a channel where it can be any JSON", async () => {
    const alone = await node({ id: "alone" });
    const client = await program(alone.wsUrl);
    for (let n = 0; n < 60; n++)
      await client.publish("chat:lobby", { text: `${n}`, at: n % 2 ? "late" : 1e99 });
    const ada = await enter(alone.demoUrl, "Ada");
    await expect.poll(() => ada.text("#count"), DEADLINE).toBe("50 messages");
    expect(await texts(ada)).toEqual(Array.from({ length: 50 }, (_, n) => `${n + 10}`));
  });
});

describe("who is here", () => {
  it("is counted, named once known, and follows who leaves and comes back", async () => {
    const { a, b } = await pair();
    const ada = await enter(a.demoUrl, "Ada");
    await expect.poll(() => ada.text("#here"), DEADLINE).toContain("1 here");
    const bob = await enter(b.demoUrl, "Bob");
    for (const chat of [ada, bob]) await expect.poll(() => chat.text("#here-count"), DEADLINE).toBe("2 here");
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)", "Bob"]);

    await bob.page.context().close();
    await expect.poll(() => ada.text("#here-count"), DEADLINE).toBe("1 here");
    expect(await ada.people()).toEqual(["Ada (you)"]);
    await enter(b.demoUrl, "Bob again");
    await expect.poll(() => ada.text("#here-count"), DEADLINE).toBe("2 here");
    await ada.page.click("#here");
    expect(await ada.page.isVisible("#people")).toBe(true);
    expect(await ada.text("#people")).toContain("node-b");
  });
});

describe("a channel that keeps nothing", () => {
  it("is a chat all the same: in production, and by its name", async () => {
    const env = { NODE_ENV: "production" };
    const alone = await node({ id: "alone", args: ["--demo", "--allow-open"], env });
    const proxy = await proxyTo(alone.port);
    const ada = await enter(`http://127.0.0.1:${proxy.port}/`, "Ada");
    await ada.say("to whom it may concern");
    await expect.poll(() => ada.messages(), DEADLINE).toMatchObject([sent]);
    const bob = await enter(`${alone.demoUrl}?channel=plain`, "Bob");
    await bob.say("plainly");
    await expect.poll(() => bob.messages(), DEADLINE).toMatchObject([sent]);
    proxy.cut();
    const line = expect.stringMatching(
      /^Resumed on alone, after [\d.]+ m?s: what was said meanwhile is not kept$/,
    );
    await expect.poll(() => ada.lines(), DEADLINE).toEqual(["to whom it may concern", line]);
    const late = await enter(alone.demoUrl, "Late");
    for (const chat of [ada, bob, late]) {
      expect(await chat.people()).toBe(undefined);
      expect(await chat.text("#toasts")).toBe("");
    }
    expect(await late.lines()).toEqual([]);
  });
});

describe("when a page's node is killed", () => {
  it("the page resumes on the other node, and nothing of the dead node stays in Redis", async () => {
    const { a, b, prefix } = await pair();
    const proxy = await proxyTo(a.port);
    const [ada, bob] = [await enter(`http://127.0.0.1:${proxy.port}/`, "Ada"), await enter(b.demoUrl, "Bob")];
    expect(await ada.text("#node")).toBe("node-a");
    await saidThere(ada, "before", "node-a");
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["before"]);
    const inRedis = redis.client();
    await expect.poll(() => inRedis.hlen(`${prefix}connections:node-a`), DEADLINE).toBe(1);

    await a.kill("SIGKILL");
    await expect.poll(() => ada.text("#state"), DEADLINE).not.toBe("Connected");
    await ada.say("said while away");
    proxy.retarget(b.port);

    await expect.poll(() => ada.text("#node"), DEADLINE).toBe("node-b");
    await expect.poll(() => ada.text("#state"), DEADLINE).toBe("Resumed");
    expect(await ada.text("#why")).toBe("node-a → node-b");
    const states = (await ada.states()).map((state) => state.replace(/\d+/, "N"));
    expect(states.slice(states.lastIndexOf("Connected"))).toContain("Waiting N s");
    expect(await ada.notes()).toEqual([
      expect.stringMatching(/^Resumed on node-b, away from node-a, after [\d.]+ m?s: nothing was missed$/),
    ]);
    // What was written offline was sent, and nobody joined the channel again by hand.
    await bob.say("after, from b");
    await expect.poll(() => texts(ada), DEADLINE).toEqual(["before", "said while away", "after, from b"]);
    await ada.say("after, from the page that moved");
    await expect
      .poll(() => bob.messages(), DEADLINE)
      .toEqual([
        { name: "Ada", node: "node-a", text: "before", ...sent },
        { name: "Ada", node: "node-b", text: "said while away", ...sent },
        { name: "You", node: "node-b", text: "after, from b", ...sent },
        { name: "Ada", node: "node-b", text: "after, from the page that moved", ...sent },
      ]);

    await expect
      .poll(() => inRedis.keys(`${prefix}connections:*`), DEADLINE)
      .toEqual([`${prefix}connections:node-b`]);
    await expect.poll(() => inRedis.hlen(`${prefix}connections:node-b`), DEADLINE).toBe(2);
    await expect.poll(() => ada.text("#state"), DEADLINE).toBe("Connected");
  });

  it("what was said meanwhile follows, once and in order, and is counted", async () => {
    const { a, b } = await pair();
    const proxy = await proxyTo(a.port);
    const [ada, bob] = [await enter(`http://127.0.0.1:${proxy.port}/`, "Ada"), await enter(b.demoUrl, "Bob")];
    await saidThere(ada, "before", "node-a");
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["before"]);
    await a.kill("SIGKILL");
    await expect.poll(() => ada.text("#state"), DEADLINE).not.toBe("Connected");
    const missed = ["missed 1", "missed 2", "missed 3"];
    for (const text of missed) await bob.say(text);
    await expect.poll(() => bob.messages(), DEADLINE).toMatchObject(Array(4).fill(sent));
    expect(await texts(ada)).toEqual(["before"]);
    proxy.retarget(b.port);

    const line = /^Resumed on node-b, away from node-a, after [\d.]+ m?s: caught up on 3 messages$/;
    await expect
      .poll(() => ada.lines(), DEADLINE)
      .toEqual(["before", expect.stringMatching(line), ...missed]);
    await bob.say("after");
    await expect.poll(() => texts(ada), DEADLINE).toEqual(["before", ...missed, "after"]);
    expect(await ada.text("#count")).toBe("5 messages");
    // The connection that died with its node is still a member, but not a person.
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)", "Bob"]);
    expect(await ada.text("#here-count")).toBe("2 here");
  });

  it("what the bus has lost is said to be lost, and what it still has is shown", async () => {
    const { a, b } = await pair();
    const proxy = await proxyTo(a.port);
    const [ada, bob] = [await enter(`http://127.0.0.1:${proxy.port}/`, "Ada"), await enter(b.demoUrl, "Bob")];
    await saidThere(ada, "before", "node-a");
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["before"]);
    proxy.retarget(await closedPort());
    proxy.cut();
    await expect.poll(() => ada.text("#state"), DEADLINE).not.toBe("Connected");
    await bob.say("lost");
    await expect
      .poll(async () => (await bob.messages()).at(-1), DEADLINE)
      .toMatchObject({ text: "lost", ...sent });
    await redis.client().flushall();
    await bob.say("kept");
    await expect
      .poll(async () => (await bob.messages()).at(-1), DEADLINE)
      .toMatchObject({ text: "kept", ...sent });
    proxy.retarget(b.port);

    const line = /^(Resumed|Connected again) on node-b, .*: some messages may be missing$/;
    await expect.poll(() => ada.lines(), DEADLINE).toEqual(["before", expect.stringMatching(line), "kept"]);
    await bob.say("after");
    await expect.poll(() => texts(ada), DEADLINE).toEqual(["before", "kept", "after"]);
  });
});

describe("the connection's state", () => {
  it("reads connecting, then counts the seconds down while it waits", async () => {
    const alone = await node({ id: "alone" });
    const nobody = await proxyTo(await closedPort());
    const chat = known(
      // The jitter at its ceiling: 1, 2, 4 s.
      await openChat(browser, `${alone.demoUrl}?node=ws://127.0.0.1:${nobody.port}`, {
        first: () => {
          Math.random = () => 0.999;
        },
      }),
    );
    await expect.poll(() => chat.states(), DEADLINE).toContain("Waiting 4 s");
    nobody.retarget(alone.port);
    await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Connected");
    const states = await chat.states();
    const four = states.indexOf("Waiting 4 s");
    expect(states.slice(four)).toEqual([
      "Waiting 4 s",
      "Waiting 3 s",
      "Waiting 2 s",
      "Waiting 1 s",
      "Connecting…",
      "Connected",
    ]);
    expect(states.slice(0, four)).toContain("Connecting…");
    await chat.page.click("#details-open");
    expect(await chat.text("#details")).toContain("Sessionalone.");
  });

  it("waits no longer than one wants", async () => {
    const alone = await node({ id: "alone" });
    const nobody = await proxyTo(await closedPort());
    const chat = known(await openChat(browser, `${alone.demoUrl}?node=ws://127.0.0.1:${nobody.port}`));
    await chat.page.clock.install();
    await chat.page.reload();
    await expect.poll(() => chat.text("#state"), DEADLINE).toMatch(/^Waiting/);
    // The time that the page waits for never comes.
    await chat.page.clock.pauseAt(await chat.page.evaluate(() => Date.now() + 1000));
    await expect.poll(() => chat.text("#state"), DEADLINE).toMatch(/^Waiting/);
    nobody.retarget(alone.port);
    await chat.page.click("#again >> text=Try now");
    await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Connected");
    expect(await chat.page.isVisible("#again")).toBe(false);
  });

  it("is closed, with the reason, for an address that is no node's", async () => {
    const alone = await node({ id: "alone" });
    for (const address of ["javascript:alert(1)", "http://127.0.0.1", "nonsense"]) {
      const chat = known(await openChat(browser, `${alone.demoUrl}?node=${encodeURIComponent(address)}`));
      expect(await chat.text("#state")).toBe("Closed for good");
      expect(await chat.text("#why")).toContain(`${address} is not the address of a node`);
    }
  });
});

describe("a message that is on its way", () => {
  it("is dimmed until it is acknowledged; after a broken connection it can be sent again, and is heard once", async () => {
    const { a, b } = await pair();
    const proxy = await proxyTo(a.port);
    const ada = await enter(`${a.demoUrl}?node=ws://127.0.0.1:${proxy.port}`, "Ada");
    const bob = await enter(b.demoUrl, "Bob");
    // Answers are late, the way there is not: the node has the message and the page cannot know.
    proxy.delay(1500);
    await ada.say("slowly");
    expect((await ada.messages())[0]).toMatchObject({ fate: "pending", note: "Sending…" });
    await expect
      .poll(() => ada.messages(), DEADLINE)
      .toEqual([{ name: "You", node: "node-a", text: "slowly", ...sent }]);

    proxy.delay(0);
    proxy.blackhole();
    await ada.say("into a hole");
    expect((await ada.messages())[1]).toMatchObject({ fate: "pending" });
    proxy.cut();
    proxy.restore();
    await expect.poll(async () => (await ada.messages())[1]?.fate, DEADLINE).toBe("failed");
    expect((await ada.messages())[1]?.note).toContain("it is unknown whether this was sent");
    await expect.poll(() => ada.text("#state"), DEADLINE).toMatch(/^(Resumed|Connected)$/);
    await ada.page.click("text=Send again");
    await expect
      .poll(async () => (await ada.messages())[1], DEADLINE)
      .toMatchObject({ text: "into a hole", ...sent });
    await expect.poll(() => texts(bob), DEADLINE).toEqual(["slowly", "into a hole"]);
  });

  it("is shown once where it arrives twice", async () => {
    const alone = await node({ id: "alone" });
    const ada = await enter(alone.demoUrl, "Ada");
    const client = await program(alone.wsUrl);
    const words = { name: "Bob", text: "twice", id: "0123456789abcdef" };
    await client.publish("chat:lobby", words);
    await client.publish("chat:lobby", words);
    await client.publish("chat:lobby", { ...words, id: "another", text: "last" });
    await expect.poll(() => texts(ada), DEADLINE).toEqual(["twice", "last"]);
  });

  it("that the node refuses as too fast is told, and can be sent again", async () => {
    const alone = await node({ id: "alone", args: ["--messages-burst", "5", "--messages-per-second", "1"] });
    const ada = await enter(alone.demoUrl, "Ada");
    const said = Array.from({ length: 8 }, (_, n) => `quick ${n}`);
    for (const text of said) await ada.say(text);
    await expect.poll(() => ada.text("#toasts"), DEADLINE).toContain("Too fast");
    await expect
      .poll(async () => (await ada.messages()).some(({ fate }) => fate === "pending"), DEADLINE)
      .toBe(false);
    expect((await ada.messages()).find(({ fate }) => fate === "failed")?.note).toContain(
      "too fast for this node",
    );
    const allSent = async (): Promise<boolean> => {
      const again = ada.page.locator(".retry").first();
      if ((await again.count()) > 0) await again.click();
      return (await ada.messages()).every(({ fate }) => fate === "sent");
    };
    await expect.poll(allSent, { ...DEADLINE, interval: 500 }).toBe(true);
    expect((await texts(ada)).sort()).toEqual(said);
    expect(await ada.text("#count")).toBe("8 messages");
  });
});

describe("what others send", () => {
  const markup = `<img src=x onerror="window.hacked=1"><b>bold</b><script>window.hacked=1</script>`;

  it("is text, never markup", async () => {
    const alone = await node({ id: "alone" });
    const ada = await enter(alone.demoUrl, "Ada");
    const client = await program(alone.wsUrl);
    await client.publish("chat:lobby", { name: markup.slice(0, 40), text: markup, id: markup.slice(0, 60) });
    await client.publish("chat:lobby", markup);
    await client.publish("chat:lobby", { html: markup });
    await expect.poll(() => texts(ada), DEADLINE).toEqual([markup, markup, JSON.stringify({ html: markup })]);
    expect((await ada.messages())[0]?.name).toBe(markup.slice(0, 40));
    await ada.say(markup);
    await expect.poll(() => texts(ada), DEADLINE).toHaveLength(4);
    await ada.page.fill("#join-name", markup);
    await ada.page.press("#join-name", "Enter");
    await expect.poll(() => ada.text("#toasts"), DEADLINE).toContain(`Not in ${markup.slice(0, 40)}`);
    expect(await ada.page.$$("img, b, body script")).toEqual([]);
    expect(await ada.page.evaluate(() => "hacked" in window)).toBe(false);
  });

  it("may be any JSON or bytes, of any length", async () => {
    const alone = await node({ id: "alone" });
    const ada = await enter(alone.demoUrl, "Ada");
    const client = await program(alone.wsUrl);
    for (const content of [null, 7, [1, "two"], { name: 1, text: {}, id: [] }, new Uint8Array(3)]) {
      await client.publish("chat:lobby", content);
    }
    await client.publish("chat:lobby", { name: "n".repeat(1000), text: "t".repeat(20_000) });
    await expect
      .poll(() => texts(ada), DEADLINE)
      .toEqual([
        "null",
        "7",
        '[1,"two"]',
        '{"name":1,"text":{},"id":[]}',
        "(3 bytes)",
        `${"t".repeat(4000)}…`,
      ]);
    expect((await ada.messages()).at(-1)?.name).toBe(`${"n".repeat(40)}…`);
  });

  it("leaves the page after 500 messages, and is counted all the same", async () => {
    const alone = await node({ id: "alone" });
    const ada = await enter(alone.demoUrl, "Ada");
    const client = await program(alone.wsUrl);
    const numbers = Array.from({ length: 520 }, (_, n) => n);
    await Promise.all(
      numbers.map((n) => client.publish("chat:lobby", { name: "Bob", text: `${n}`, id: `id-${n}` })),
    );
    await expect.poll(() => ada.text("#count"), DEADLINE).toBe("520 messages");
    expect(await texts(ada)).toEqual(numbers.slice(20).map(String));
  });
});

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
