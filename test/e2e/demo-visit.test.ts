/** The demo page as someone finds it who sees it for the first time, on any screen. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { connect } from "../../src/client/index.js";
import { startBrowser, type OpenOptions, type TestBrowser } from "../support/browser.js";
import { JWT_SECRET, token } from "../support/nodes.js";
import { startBuiltNode, type BuiltNode, type BuiltNodeOptions } from "./built-node.js";
import { DEADLINE, enterChat, openChat, type ChatPage } from "./chat-page.js";

let browser: TestBrowser;
let open: BuiltNode;
/** With tokens: what the API does to a user shows here. */
let keyed: BuiltNode;
beforeAll(async () => {
  const withKey: BuiltNodeOptions = { id: "keyed", env: { STARLING_JWT_SECRET: JWT_SECRET } };
  [browser, open, keyed] = await Promise.all([
    startBrowser(),
    startBuiltNode({ id: "open" }),
    startBuiltNode(withKey),
  ]);
});
afterAll(() => Promise.all([browser.close(), open.kill(), keyed.kill()]));

const pages: ChatPage[] = [];
afterEach(async () => {
  const opened = pages.splice(0);
  await Promise.all(opened.map(({ page }) => page.context().close()));
  expect(opened.flatMap(({ faults }) => faults)).toEqual([]);
});

let channels = 0;

/** A channel of the test's own. */
function newChannel(namespace = "chat"): string {
  return `${namespace}:visit-${++channels}`;
}

function addressOf(channel: string, node = open): string {
  return `${node.demoUrl}?channel=${encodeURIComponent(channel)}`;
}

async function visit(url: string, options?: OpenOptions): Promise<ChatPage> {
  const chat = await openChat(browser, url, options);
  pages.push(chat);
  return chat;
}

async function enter(channel: string, name: string, options?: OpenOptions): Promise<ChatPage> {
  const chat = await enterChat(browser, addressOf(channel), name, options);
  pages.push(chat);
  return chat;
}

async function join(chat: ChatPage, channel: string): Promise<void> {
  await chat.page.fill("#join-name", channel);
  await chat.page.press("#join-name", "Enter");
}

/** Of the list of those that were joined, from top to bottom. */
function channelsOf({ page }: ChatPage): Promise<(string | null)[]> {
  return page.$$eval(".room-name", (names) => names.map((name) => name.textContent));
}

describe("the first look", () => {
  it("asks for nothing; the name is asked for with the first message, which waits for the answer", async () => {
    const channel = newChannel();
    const chat = await visit(addressOf(channel));
    await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Connected");
    expect(await chat.page.isVisible("#hello")).toBe(false);
    const guest = await chat.text("#me-name");
    expect(guest).toMatch(/^\w+ \w+$/);

    await chat.say("my first words");
    expect(await chat.page.isVisible("#hello")).toBe(true);
    expect(await chat.page.inputValue("#hello-name")).toBe(guest);
    // Put off: nothing was sent, and nothing has to be written again.
    await chat.page.keyboard.press("Escape");
    await expect.poll(() => chat.page.isVisible("#hello"), DEADLINE).toBe(false);
    expect(await chat.messages()).toEqual([]);
    expect(await chat.page.inputValue("#draft")).toBe("my first words");
    expect(await chat.page.evaluate(() => document.activeElement?.id)).toBe("draft");

    await chat.page.press("#draft", "Enter");
    await chat.page.fill("#hello-name", "Ada");
    await chat.page.press("#hello-name", "Enter");
    await expect
      .poll(() => chat.messages(), DEADLINE)
      .toEqual([{ name: "You", node: "open", text: "my first words", fate: "sent", note: "" }]);
    expect(await chat.page.inputValue("#draft")).toBe("");
    expect(await chat.text("#me-name")).toBe("Ada");
    await chat.say("and more");
    expect(await chat.page.isVisible("#hello")).toBe(false);
    await expect.poll(() => chat.messages(), DEADLINE).toHaveLength(2);
  });

  it("shows a round trip without the time that the page itself was busy", async () => {
    const busyMs = 1500;
    const chat = await visit(addressOf(newChannel()), {
      first: () => {
        const shown: string[] = ((window as { shownTrips?: string[] }).shownTrips = []);
        addEventListener("DOMContentLoaded", () => {
          const trip = document.querySelector("#trip")!;
          new MutationObserver(() => shown.push(trip.textContent)).observe(trip, { childList: true });
        });
        // The page works for as long once it has asked for its channel.
        let wasBusy = false;
        window.WebSocket = class extends window.WebSocket {
          override send(data: string | Blob | BufferSource): void {
            super.send(data);
            if (wasBusy || typeof data !== "string" || !data.includes("subscribe")) return;
            wasBusy = true;
            setTimeout(() => {
              for (const end = performance.now() + 1500; performance.now() < end;);
            });
          }
        };
      },
    });
    const trips = (): Promise<string[]> =>
      chat.page.evaluate(() =>
        ((window as { shownTrips?: string[] }).shownTrips ?? []).filter((text) => text !== "–"),
      );
    await expect.poll(trips, DEADLINE).not.toEqual([]);
    const [first = ""] = await trips();
    const [, number = "NaN", unit] = /^([\d.]+) (m?s)$/.exec(first) ?? [];
    expect(Number(number) * (unit === "s" ? 1000 : 1), first).toBeLessThan(busyMs / 2);
  });

  it("offers a second window beside the first, where one is somebody else", async () => {
    const channel = newChannel();
    const ada = await enter(channel, "Ada");
    for (const selector of ["#beside", ".empty-beside"]) {
      const [second] = await Promise.all([ada.page.context().waitForEvent("page"), ada.page.click(selector)]);
      await second.waitForSelector("#link[data-state=connected]");
      await expect.poll(() => second.textContent("#channel"), DEADLINE).toBe(channel);
      expect(await second.textContent("#me-name")).not.toBe("Ada");
      await expect.poll(() => ada.text("#here-count"), DEADLINE).toBe("2 here");
      await second.close();
      await expect.poll(() => ada.text("#here-count"), DEADLINE).toBe("1 here");
    }
  });

  it("opens it in the channel that is shown, by the middle button too", async () => {
    const chat = await visit(addressOf(newChannel()));
    const channel = newChannel();
    await join(chat, channel);
    for (const selector of ["#beside", ".empty-beside"]) {
      const [tab] = await Promise.all([
        chat.page.context().waitForEvent("page"),
        chat.page.click(selector, { button: "middle" }),
      ]);
      await expect.poll(() => tab.textContent("#channel"), DEADLINE).toBe(channel);
      await tab.close();
    }
  });

  it("beside a page that names several nodes the second window is on the next one", async () => {
    const nodes = [open, keyed].map(({ wsUrl }) => wsUrl).join(",");
    const ada = await visit(`${addressOf(newChannel())}&node=${encodeURIComponent(nodes)}`);
    await expect.poll(() => ada.text("#node"), DEADLINE).toBe("open");
    const [second] = await Promise.all([ada.page.context().waitForEvent("page"), ada.page.click("#beside")]);
    await second.waitForLoadState();
    const asked = new URL(second.url()).searchParams.get("node")!.split(",");
    expect(asked.map((url) => new URL(url).port)).toEqual([String(keyed.port), String(open.port)]);
  });
});

describe("people", () => {
  it("are named before they write: by the name they have or choose, for who comes later too", async () => {
    const channel = newChannel();
    const ada = await enter(channel, "Ada");
    const guest = await visit(addressOf(channel));
    const guestName = await guest.text("#me-name");
    await expect.poll(() => guest.people(), DEADLINE).toEqual([`${guestName} (you)`, "Ada"]);
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)", guestName]);

    await guest.page.click("#me");
    await guest.page.fill("#hello-name", "Bob");
    await guest.page.press("#hello-name", "Enter");
    await expect.poll(() => ada.people(), DEADLINE).toEqual(["Ada (you)", "Bob"]);
    for (const chat of [ada, guest]) expect(await chat.messages()).toEqual([]);
  });

  it("have the name that their token shows, else the one they chose, else their user's", async () => {
    const channel = newChannel();
    const bo = await token({ sub: "user-7", channels: [`${channel}*`], info: { name: "Bo" } });
    const ann = await visit(`${addressOf(channel, keyed)}#token=${await tokenOf("ann", channel)}`);
    const guest = await ann.text("#me-name");
    const bos = await visit(`${addressOf(channel, keyed)}#token=${bo}`);
    await expect.poll(() => ann.people(), DEADLINE).toEqual([`${guest} (you)`, "Bo"]);
    await expect.poll(() => bos.people(), DEADLINE).toEqual(["Bo (you)", "ann"]);

    const { page } = ann;
    await page.click("#me");
    await page.fill("#hello-name", "Annie");
    await page.press("#hello-name", "Enter");
    await expect.poll(() => bos.people(), DEADLINE).toEqual(["Bo (you)", "Annie"]);
    // Whatever Bo calls himself.
    const program = connect(keyed.wsUrl, { WebSocket, token: bo });
    await program.publish(`${channel}:names`, { name: "Boss" });
    program.close();
    await page.click("#me");
    await page.fill("#hello-name", "Anna");
    await page.press("#hello-name", "Enter");
    await expect.poll(() => bos.people(), DEADLINE).toEqual(["Bo (you)", "Anna"]);
    expect(await ann.people()).toEqual(["Anna (you)", "Bo"]);
  });

  it("do not tell their names to a crowd", async () => {
    const channel = newChannel();
    const told: unknown[] = [];
    const listener = connect(open.wsUrl, { WebSocket });
    await listener.subscribe(`${channel}:names`, ({ content }) => told.push(content)).ready;
    const crowd = Array.from({ length: 50 }, () => connect(open.wsUrl, { WebSocket }));
    await Promise.all(crowd.map((client) => client.subscribe(channel, () => undefined).ready));
    const chat = await visit(addressOf(channel));
    await chat.page.clock.install();
    await chat.page.reload();
    await expect.poll(() => chat.text("#here-count"), DEADLINE).toBe("51 here");
    await chat.page.clock.runFor(5000);
    await chat.page.click("#me");
    await chat.page.fill("#hello-name", "Ada");
    await chat.page.press("#hello-name", "Enter");
    await chat.page.clock.runFor(5000);
    // What the page sent before has arrived once this has.
    await chat.say("is anybody listening?");
    await expect.poll(() => chat.messages(), DEADLINE).toMatchObject([{ fate: "sent" }]);
    await listener.ping();
    expect(told).toEqual([]);

    for (const client of crowd.slice(1)) client.close();
    await expect.poll(() => chat.text("#here-count"), DEADLINE).toBe("2 here");
    await visit(addressOf(channel));
    await expect.poll(() => told, DEADLINE).toContainEqual({ name: "Ada" });
    for (const client of [listener, crowd[0]!]) client.close();
  });
});

describe("channels", () => {
  it("are there after a reload, in the same order, with what was said in them", async () => {
    const names = [newChannel(), newChannel(), newChannel()];
    const ada = await enter(names[0]!, "Ada");
    await ada.say("kept");
    await expect.poll(() => ada.messages(), DEADLINE).toMatchObject([{ fate: "sent" }]);
    for (const name of names.slice(1)) await join(ada, name);
    await ada.page.click(`.room >> text=${names[1]!}`);
    await ada.page.click(`[aria-label="Leave ${names[2]!}"]`);

    await ada.page.reload();
    await expect.poll(() => ada.text("#state"), DEADLINE).toBe("Connected");
    expect(await channelsOf(ada)).toEqual(names.slice(0, 2));
    expect(await ada.text("#channel")).toBe(names[1]);
    expect(await ada.text("#me-name")).toBe("Ada");
    await ada.page.click(`.room >> text=${names[0]!}`);
    await expect.poll(async () => (await ada.messages()).map(({ text }) => text), DEADLINE).toEqual(["kept"]);
  });

  it("that are refused leave the list, and the one before is shown again", async () => {
    const [first, second] = [newChannel(), newChannel()];
    const ada = await enter(first, "Ada");
    await join(ada, second);
    await join(ada, "not a name");
    await expect.poll(() => channelsOf(ada), DEADLINE).toEqual([first, second]);
    expect(await ada.text("#channel")).toBe(second);
    expect(new URL(ada.page.url()).searchParams.get("channel")).toBe(second);
    expect(await ada.text("#toasts")).toContain("Not in not a name");
    await ada.page.reload();
    await expect.poll(() => channelsOf(ada), DEADLINE).toEqual([first, second]);
  });

  it("of which the only one is refused leave a page that says what to do", async () => {
    const chat = await visit(addressOf("not a name"));
    await expect.poll(() => channelsOf(chat), DEADLINE).toEqual([]);
    expect(await chat.text("#empty-title")).toBe("No channel is open");
    expect(await chat.page.isDisabled("#draft")).toBe(true);
    const channel = newChannel();
    await join(chat, channel);
    await expect.poll(() => chat.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    expect(await chat.page.isDisabled("#draft")).toBe(false);
  });

  it("that keep nothing say so, before and after something was said", async () => {
    const ada = await enter(newChannel("plain"), "Ada");
    await expect.poll(() => ada.text("#empty-title"), DEADLINE).toBe("Nothing is kept here");
    await ada.say("to whom it may concern");
    await expect.poll(() => ada.messages(), DEADLINE).toMatchObject([{ fate: "sent" }]);
    expect(await ada.page.isVisible("#kept")).toBe(true);
    await join(ada, newChannel());
    await expect.poll(() => ada.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    expect(await ada.page.isVisible("#kept")).toBe(false);
  });

  it("from which one was removed can be read, not written to, and joined again", async () => {
    const channel = newChannel();
    const ann = await visit(`${addressOf(channel, keyed)}#token=${await tokenOf("ann", channel)}`);
    await expect.poll(() => ann.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    await askApi("/v1/users/ann/unsubscribe", { channel });
    await expect
      .poll(() => ann.notes(), DEADLINE)
      .toEqual([expect.stringMatching(/^Removed from this channel/)]);
    expect(await channelsOf(ann)).toEqual([channel]);
    expect(await ann.page.isDisabled("#draft")).toBe(true);
    await join(ann, channel);
    await expect.poll(() => ann.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    expect(await channelsOf(ann)).toEqual([channel]);
    expect(await ann.page.isDisabled("#draft")).toBe(false);
  });

  it("of the server's own are joined at once, or refused", async () => {
    const channel = newChannel();
    const ann = await visit(`${addressOf(channel, keyed)}#token=${await tokenOf("ann", channel)}`);
    await expect.poll(() => ann.text("#state"), DEADLINE).toBe("Connected");
    await join(ann, "#news");
    await expect.poll(() => ann.text("#toasts"), DEADLINE).toContain("Not in #news");
    await join(ann, "#user:ann");
    await expect.poll(() => channelsOf(ann), DEADLINE).toEqual([channel, "#user:ann"]);
    await expect.poll(() => ann.text("#empty-title"), DEADLINE).not.toBe("Not in this channel yet");
  });

  it("keep what was written in them, where another is shown before it is sent", async () => {
    const chat = await visit(addressOf(newChannel()));
    await join(chat, newChannel());
    await expect.poll(() => chat.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    await chat.say("for the second");
    await chat.page.$eval("button.room", (room: HTMLElement) => room.click());
    await chat.page.fill("#hello-name", "Ada");
    await chat.page.press("#hello-name", "Enter");
    await expect.poll(() => chat.text("#me-name"), DEADLINE).toBe("Ada");
    expect(await chat.page.inputValue("#draft")).toBe("for the second");
    await chat.page.fill("#draft", "");
    await chat.say("for the first");
    await expect
      .poll(async () => (await chat.messages()).map(({ text }) => text), DEADLINE)
      .toEqual(["for the first"]);
  });
});

describe("a connection that is closed for good", () => {
  it("says why, takes nothing more, and is made again by hand", async () => {
    const channel = newChannel();
    const ann = await visit(`${addressOf(channel, keyed)}#token=${await tokenOf("ann", channel)}`);
    await expect.poll(() => ann.text("#state"), DEADLINE).toBe("Connected");
    await askApi("/v1/users/ann/disconnect", {});
    await expect.poll(() => ann.text("#state"), DEADLINE).toBe("Closed for good");
    expect(await ann.text("#why")).toContain("4502");
    expect(await ann.text("#spoken")).toContain("Closed for good");
    expect(await ann.text("#empty-title")).toBe("Closed for good");
    for (const field of ["#draft", "#send", "#join-name"])
      expect(await ann.page.isDisabled(field)).toBe(true);
    await ann.page.click("#again");
    await expect.poll(() => ann.text("#state"), DEADLINE).toBe("Connected");
    expect(await ann.page.isDisabled("#draft")).toBe(false);
  });

  it("without a token tells how to give one", async () => {
    const chat = await visit(addressOf(newChannel(), keyed));
    await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Closed for good");
    expect(await chat.text("#why")).toContain("#token=<JWT>");
  });
});

describe("toasts", () => {
  it("leave by themselves though what they tell goes on, stay while one reads them, and go with Escape", async () => {
    const chat = await visit(addressOf(newChannel()));
    await chat.page.clock.install();
    await chat.page.reload();
    await expect.poll(() => chat.text("#state"), DEADLINE).toBe("Connected");
    const { page } = chat;
    // From here on time passes by runFor alone.
    await page.clock.pauseAt(await page.evaluate(() => Date.now() + 1000));
    const refused = async (times: number): Promise<void> => {
      await join(chat, "not a name");
      const counted = times === 1 ? "Not in not a name" : `(${times} times)`;
      await expect.poll(() => chat.text("#toasts"), DEADLINE).toContain(counted);
    };
    await refused(1);
    await page.clock.runFor(5000);
    await refused(2);
    await page.clock.runFor(4000);
    expect(await chat.text("#toasts")).toBe("");

    await refused(1);
    await page.hover(".toast");
    await page.clock.runFor(20_000);
    expect(await chat.text("#toasts")).not.toBe("");
    await page.mouse.move(10, 10);
    await page.clock.runFor(2000);
    expect(await chat.text("#toasts")).toBe("");

    await refused(1);
    await page.keyboard.press("Escape");
    expect(await chat.text("#toasts")).toBe("");
  });
});

describe.each([
  ["a phone", { width: 390, height: 844 }, true],
  ["a phone that lies", { width: 844, height: 390 }, true],
  ["a window", { width: 1280, height: 800 }, false],
] as const)("on %s", (_, viewport, isMobile) => {
  it("everything is within reach with many channels, of which one has a name as long as may be", async () => {
    const options = { viewport, isMobile, hasTouch: isMobile };
    const long = `${newChannel()}-${"long-".repeat(60)}`.slice(0, 200);
    const chat = await enter(newChannel(), "Ada", options);
    for (let n = 0; n < 7; n++) await join(chat, newChannel());
    await join(chat, long);
    await expect.poll(() => chat.text("#empty-title"), DEADLINE).toBe("Nobody has said anything yet");
    await chat.say("here");
    await expect.poll(() => chat.messages(), DEADLINE).toMatchObject([{ text: "here", fate: "sent" }]);
    await join(chat, "not a name");

    const { width, height } = viewport;
    for (const selector of [
      // First, as it leaves by itself.
      ".toast",
      "#channel",
      "#here",
      "#beside",
      "#draft",
      "#send",
      "#join-name",
      "#me",
    ]) {
      const box = (await (await chat.page.waitForSelector(selector)).boundingBox())!;
      expect([selector, box.x >= 0, box.y >= 0], selector).toEqual([selector, true, true]);
      expect(box.x + box.width, selector).toBeLessThanOrEqual(width);
      expect(box.y + box.height, selector).toBeLessThanOrEqual(height);
      expect(Math.min(box.width, box.height), selector).toBeGreaterThanOrEqual(20);
    }
    // The open channel's row is in sight, however many there are, and so is what it says.
    const [list, row] = await Promise.all(
      ["#rooms", ".room[aria-current]"].map((selector) => chat.page.locator(selector).boundingBox()),
    );
    expect(row!.x).toBeLessThan(list!.x + list!.width);
    expect(row!.x + row!.width).toBeGreaterThan(list!.x);
    expect(row!.y + row!.height).toBeLessThanOrEqual(list!.y + list!.height + 1);
    const pane = (await chat.page.locator("#pane").boundingBox())!;
    expect(pane.height).toBeGreaterThan(height / 2);
    expect(await chat.page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  });
});

function tokenOf(user: string, channel: string): Promise<string> {
  return token({ sub: user, channels: [`${channel}*`] });
}

async function askApi(path: string, body: object): Promise<void> {
  const answer = await fetch(keyed.apiUrl + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(answer.status, await answer.text()).toBe(202);
}
