import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, startTestNode, until, type TestNode } from "../support/nodes.js";
import { clientFrame, RawSocket } from "../support/raw-socket.js";

const sockets: RawSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  return cleanUp();
});

const TEXT = 1;
const BINARY = 2;
const PING = 9;
const PONG = 10;
/** What the kernel hands over in one read, and more. */
const PIECE_BYTES = 512 * 1024;

function filled(frame: Buffer): Buffer {
  return Buffer.concat(new Array<Buffer>(Math.ceil(PIECE_BYTES / frame.length)).fill(frame));
}

async function open(node: TestNode, subprotocol?: string): Promise<RawSocket> {
  const socket = await RawSocket.open(node.wsUrl, subprotocol);
  sockets.push(socket);
  return socket;
}

describe("fault: a client that floods the node", () => {
  it.each([
    ["empty text frames", clientFrame(TEXT), undefined],
    ["empty text frames without a mask", clientFrame(TEXT, undefined, false), undefined],
    ["empty binary frames", clientFrame(BINARY), undefined],
    ["empty frames in MessagePack", clientFrame(BINARY), "starling.v1.msgpack"],
    ["unknown actions", clientFrame(TEXT, Buffer.from('{"action":"subscribed","id":1}')), undefined],
    ["pings", clientFrame(PING), undefined],
    ["pongs", clientFrame(PONG), undefined],
  ])(
    "with %s is closed with 4007 within a read, and costs next to nothing",
    async (_what, frame, subprotocol) => {
      const node = await startTestNode({ messagesPerSecond: 10, messagesBurst: 100 });
      const neighbour = await node.client();
      const flood = filled(frame);
      const socket = await open(node, subprotocol);
      const before = await node.metrics();
      // Four reads: whoever is closed is not read to the end.
      for (let i = 0; i < 4; i++) socket.write(flood);
      await until(
        "its end",
        async () =>
          (await node.metric('starling_disconnects_total{protocol="starling",reason="rate_limited"}')) === 1,
      );
      await neighbour.do("ping");
      await socket.closed();
      const { texts, closeCode, pongs } = socket.read();
      // What was written to a closed socket resets it, and what it had to say may be lost on the way.
      expect([4007, undefined]).toContain(closeCode);
      // The welcome, an answer for each frame within the limit, two for those over it, closing.
      expect(texts.length).toBeLessThanOrEqual(1 + 110 + 2 + 1);
      expect(pongs).toBeLessThanOrEqual(1110);
      const after = await node.metrics();
      const came = (name: string): number => after.get(name)! - before.get(name)!;
      const frames =
        came('starling_messages_in_total{protocol="starling",codec="json"}') +
        came('starling_messages_in_total{protocol="starling",codec="msgpack"}');
      expect(frames).toBeLessThanOrEqual(1110);
    },
  );
});
