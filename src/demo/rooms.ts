/** The channels that this page is in, over a reload too, and the one that is shown. */

import type { Client, Removal, StarlingError } from "starling-edge/client";
import { byId } from "./dom.js";
import { fitName } from "./name.js";
import type { OwnConnections } from "./own-connections.js";
import { makeRoomRow, type RoomRow } from "./room-row.js";
import { Room } from "./room.js";
import { recallList, remember } from "./tab-memory.js";
import { toast } from "./toasts.js";

export interface RoomsOptions {
  readonly client: Client;
  readonly mine: OwnConnections;
  /** The name to tell the others; undefined: none. */
  readonly toldName: () => string | undefined;
  /** Another one is shown; undefined: none is left. */
  readonly opened: (room: Room | undefined) => void;
  /** The one that is shown changed; `heard`: by a message from someone else. */
  readonly grown: (heard: boolean) => void;
  /** Who is in the one that is shown changed. */
  readonly peopled: () => void;
  readonly failed: (error: StarlingError) => void;
}

export interface Rooms {
  readonly current: Room | undefined;
  /** Joins what this tab was in before a reload, and opens `first`. */
  restore(first: string): void;
  /** Opens a channel, which is joined where it is a new one. */
  join(channel: string): void;
  each(act: (room: Room) => void): void;
}

const REMEMBERED_AS = "rooms";
const ROOMS_MAX = 20;

export function startRooms(options: RoomsOptions): Rooms {
  const rooms = new Map<string, Room>();
  const rows = new Map<Room, RoomRow>();
  /** In the order in which they were shown last. */
  const seen = new Set<Room>();
  let current: Room | undefined;

  function join(channel: string): void {
    let there = rooms.get(channel);
    if (there?.standing === "removed") {
      remove(there);
      there = undefined;
    }
    if (there === undefined && rooms.size >= ROOMS_MAX) {
      return toast("Too many channels", `This page shows at most ${ROOMS_MAX}: leave one first.`);
    }
    open(there ?? add(channel));
  }

  function add(channel: string): Room {
    const { client, mine, toldName, failed } = options;
    const room: Room = new Room({
      ...{ client, channel, mine, toldName, failed },
      grown: (heard) => grown(room, heard),
      refused: (why) => refused(room, why),
      peopled: () => {
        if (room === current) options.peopled();
      },
    });
    const row = makeRoomRow(channel, { open: () => open(room), leave: () => remove(room) });
    rooms.set(channel, room);
    rows.set(room, row);
    byId("rooms", HTMLElement).append(row.element);
    remember(REMEMBERED_AS, [...rooms.keys()]);
    return room;
  }

  function open(room: Room | undefined): void {
    current = room;
    if (room !== undefined) {
      room.unread = 0;
      seen.delete(room);
      seen.add(room);
    }
    options.opened(room);
    showRows();
    if (room !== undefined) rows.get(room)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function remove(room: Room): void {
    room.leave();
    rooms.delete(room.channel);
    rows.get(room)?.element.remove();
    rows.delete(room);
    seen.delete(room);
    remember(REMEMBERED_AS, [...rooms.keys()]);
    if (room === current) open([...rooms.values(), ...seen].at(-1));
    else showRows();
  }

  function refused(room: Room, { message }: Removal): void {
    toast(`Not in ${fitName(room.channel)}`, message);
    remove(room);
  }

  function grown(room: Room, heard: boolean): void {
    if (heard && (room !== current || document.hidden)) room.unread++;
    if (room === current) options.grown(heard);
    showRows();
  }

  function showRows(): void {
    const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = [
      ...(unread > 0 ? [`(${unread})`] : []),
      current?.channel ?? "No channel",
      "· Starling",
    ].join(" ");
    for (const [room, row] of rows) {
      row.show({ current: room === current, unread: room.unread, mayLeave: rows.size > 1 });
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden || current === undefined) return;
    current.unread = 0;
    showRows();
  });
  return {
    get current() {
      return current;
    },
    restore(first) {
      const channels = new Set([...recallList(REMEMBERED_AS), first]);
      for (const channel of [...channels].slice(-ROOMS_MAX)) add(channel);
      join(first);
    },
    join,
    each: (act) => rooms.forEach(act),
  };
}
