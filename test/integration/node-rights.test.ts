/** Rights through a real node: proved by a signature, by a token, or decided by an application that is asked. */

import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { Rights } from "../../src/core/authorizer.js";
import { StarlingError } from "../../src/core/errors.js";
import { Grant } from "../../src/core/grant.js";
import type { Protocol } from "../../src/core/protocol.js";
import { starlingProtocol } from "../../src/protocols/starling/protocol.js";
import { echoProtocol, sign } from "../support/echo/protocol.js";
import { CHAT_RULES, cleanUp, startTestNode, until, type InProcessNode } from "../support/nodes.js";

const open: WebSocket[] = [];
afterEach(async () => {
  for (const socket of open.splice(0)) socket.terminate();
  await cleanUp();
});

const KEYS = [{ key: "k1", secret: "s".repeat(32) }];
const PRIVATE_RULES = { ...CHAT_RULES, publish: "subscribers" } as const;

/** Settings of apps name no such authorizer: the first that comes brings it. */
function deciding(protocol: Protocol, rights: Rights): Protocol {
  return {
    ...protocol,
    admit(request, apps) {
      Object.assign(apps.main, { authorizer: { ...apps.main.authorizer, ...rights }, keys: KEYS });
      return protocol.admit(request, apps);
    },
  };
}

function start(rights: Rights): Promise<InProcessNode> {
  const protocols = [deciding(echoProtocol, rights), deciding(starlingProtocol, rights)];
  return startTestNode({ namespaces: { private: PRIVATE_RULES }, maxPendingFrames: 20 }, { protocols });
}

interface Echo {
  readonly texts: string[];
  readonly socket: WebSocket;
  say(...lines: string[]): void;
  heard(...texts: string[]): Promise<void>;
}

async function connect({ wsUrl }: InProcessNode): Promise<Echo> {
  const socket = new WebSocket(`${wsUrl}/echo`);
  open.push(socket);
  const texts: string[] = [];
  socket.on("message", (data: Buffer) => texts.push(data.toString()));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    texts,
    socket,
    say: (...lines) => socket.send(lines.join("\n")),
    heard: async (...wanted) => {
      await until(`${wanted.join()} of ${texts.join()}`, () => texts.length >= wanted.length);
      expect(texts.splice(0)).toEqual(wanted);
    },
  };
}

const no = (): never => {
  throw new StarlingError("forbidden", "only a signature proves a right here");
};

describe("a right", () => {
  it("is proved by a signature that the protocol checks at once", async () => {
    const node = await start({ subscribe: no, publish: no });
    const echo = await connect(node);
    const signature = `k1:${sign(KEYS[0]!.secret, "private:1")}`;
    echo.say("private:1");
    echo.say("private:1", `k1:${"0".repeat(64)}`);
    echo.say("private:2", signature);
    echo.say("private:1 early", signature);
    await echo.heard("!forbidden", "!forbidden", "!forbidden", "!forbidden");
    echo.say("private:1", signature);
    echo.say("private:1 hi", signature);
    await echo.heard("+private:1", "private:1 hi");
    expect(await node.metric('starling_rejects_total{reason="forbidden"}')).toBe(4);
  });

  it("is proved by a token that the authorizer checks later, and ends when the token does", async () => {
    const subscribe: Rights["subscribe"] = async (client, channel, proof) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const [of, lifetime] = String(proof).split(" ");
      if (of !== channel) throw new StarlingError("token_invalid", `the token is not of channel ${channel}`);
      const info = JSON.stringify({ of: client.id });
      return new Grant({ info, expiresAt: Math.floor(Date.now() / 1000) + Number(lifetime) });
    };
    const node = await start({ subscribe, publish: no });
    const echo = await connect(node);
    for (const proof of ["private:1 1", "private:2 1"]) echo.say("private:1", proof);
    echo.say("?");
    // The ping does not wait; what was asked first is answered first.
    await echo.heard(".", "+private:1", "!token_invalid");
    echo.say("room", "room 1");
    echo.say("room", "room 600");
    await echo.heard("+room", "+room");
    await echo.heard("-private:1 expired");
    const { body } = await node.get("/v1/channels");
    expect(body).toMatchObject({ channels: [{ channel: "room", subscribers: 1 }] });
  });

  it("is decided by an application that is asked, which holds back nobody else", async () => {
    const questions: { channel: string; content?: string; answer: (yes: boolean) => void }[] = [];
    const ask = (question: { channel: string; content?: string }): Promise<Grant> =>
      new Promise((resolve, reject) => {
        const answer = (yes: boolean): void => {
          if (yes) resolve(new Grant());
          else reject(new StarlingError("forbidden", "the application says no"));
        };
        questions.push({ ...question, answer });
      });
    const node = await start({
      subscribe: (_client, channel) => (channel === "free" ? new Grant() : ask({ channel })),
      publish: (_client, channel, _proof, { content }) =>
        ask({ channel, content: Buffer.from(content.bytes).toString() }),
    });
    const [one, two] = [await connect(node), await connect(node)];
    two.say("free");
    await two.heard("+free");
    for (const text of ["private:1", "private:1 a", "private:1 b", "-private:1", "private:1 c", "?"])
      one.say(text);
    await one.heard(".");
    two.say("private:1");
    const answer = async (at: number, yes: boolean): Promise<void> => {
      await until(`question ${at}`, () => questions.length > at);
      questions[at]!.answer(yes);
    };
    await answer(1, true);
    await two.heard("+private:1");
    await answer(0, true);
    await answer(2, true);
    await answer(3, false);
    await two.heard("private:1 a");
    // The last is not asked about: who left may not publish there.
    await one.heard("+private:1", "private:1 a", "!forbidden", "-private:1", "!forbidden");
    expect(questions.map(({ channel, content }) => [channel, content])).toEqual([
      ["private:1", undefined],
      ["private:1", undefined],
      ["private:1", "a"],
      ["private:1", "b"],
    ]);
  });

  it.each([
    ["JSON", {}],
    ["MessagePack", { subprotocol: "starling.v1.msgpack" }],
  ])(
    "is decided for what a client sent before it left, and its pings do not wait: %s",
    async (_name, codec) => {
      const waiting: ((grant: Grant) => void)[] = [];
      const node = await start({
        subscribe: () => new Grant(),
        publish: () => new Promise((resolve) => waiting.push(resolve)),
      });
      const [native, leaves] = [await node.client(), await node.client(codec)];
      await native.do("subscribe", { channel: "private:1" });
      await leaves.do("subscribe", { channel: "private:1" });
      for (const content of [1, 2, 3]) leaves.send({ action: "send", channel: "private:1", content });
      expect(await leaves.do("ping")).toMatchObject({ type: "reply" });
      leaves.close();
      await until("left", async () => (await node.metric("starling_connections")) === 1);
      for (let at = 0; at < 3; at++) {
        await until("asked", () => waiting.length > at);
        waiting[at]!(new Grant());
      }
      expect(await native.contents("private:1", 3)).toEqual([1, 2, 3]);
    },
  );

  it("that nobody has an answer to costs no other client anything", async () => {
    const node = await start({ subscribe: () => new Promise(() => undefined), publish: () => new Grant() });
    const [stuck, other] = [await connect(node), await node.client()];
    stuck.say("room");
    for (let i = 0; i < 21; i++) stuck.say("room text");
    await until("closed", () => stuck.socket.readyState === WebSocket.CLOSED);
    expect(await node.metric('starling_rejects_total{reason="overloaded"}')).toBe(1);
    await other.do("send", { channel: "room", content: 1 });
  });
});
