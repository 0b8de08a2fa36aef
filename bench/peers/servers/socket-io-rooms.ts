/** Rooms for channels: the same for Socket.IO on either server. */

import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { BUS, MAX_FRAME_BYTES } from "./process.js";

/** Not yet attached to anything; `attached` waits for the bus. */
export function createRooms(redisUrl: string | undefined): { io: Server; attached: () => Promise<void> } {
  const io = new Server({
    transports: ["websocket"],
    serveClient: false,
    maxHttpBufferSize: MAX_FRAME_BYTES,
  });
  let subscriber: Redis | undefined;
  if (redisUrl !== undefined) {
    const publisher = new Redis(redisUrl);
    subscriber = publisher.duplicate();
    io.adapter(createAdapter(publisher, subscriber, { key: BUS }));
  }
  io.on("connection", (socket) => {
    socket.on("subscribe", (channel: string, done?: () => void) => {
      void socket.join(channel);
      done?.();
    });
    socket.on("unsubscribe", (channel: string, done?: () => void) => {
      void socket.leave(channel);
      done?.();
    });
    socket.on("publish", (channel: string, content: unknown, done?: () => void) => {
      io.to(channel).emit("message", channel, content);
      done?.();
    });
  });
  return {
    io,
    // Commands of one connection are answered in order: what the adapter subscribed to before is in place then.
    attached: async () => void (await subscriber?.subscribe(`${BUS}:ready`)),
  };
}
