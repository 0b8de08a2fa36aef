/** The demo: a small chat over the SDK, as an application would use it. */

import { connect, type Client, type StarlingError } from "starling-edge/client";
import { readAddress, rememberChannel, type Wishes } from "./address.js";
import { byId, plural } from "./dom.js";
import { titleOf } from "./failure.js";
import { startMembersPanel } from "./members-panel.js";
import { trackOwnConnections } from "./own-connections.js";
import { startName, type OwnName } from "./name.js";
import { makeRoomRow, type RoomRow } from "./room-row.js";
import { Room } from "./room.js";
import { duration, startStatus, type Back } from "./status.js";
import { toast } from "./toasts.js";

const ROOMS_MAX = 20;
/** Closer to the end than this, new messages scroll into view by themselves. */
const NEAR_END_PX = 80;
/** Who is here is asked anew this often: a channel need not tell who comes and goes. */
const PEOPLE_INTERVAL_MS = 30_000;
const pane = byId("pane", HTMLElement);
const newer = byId("newer", HTMLButtonElement);
const draft = byId("draft", HTMLTextAreaElement);

start();

function start(): void {
  let wishes: Wishes;
  try {
    wishes = readAddress(location);
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
    return;
  }
  const { urls, token, channel } = wishes;
  const client = connect(urls, token === undefined ? {} : { token });
  client.on("error", reportError);
  client.on("unsubscribed", ({ channel: name, message }) => toast(`Not in ${name}`, message));
  const rooms = new Map<string, Room>();
  startStatus({
    client,
    back: (back) => {
      for (const room of rooms.values()) room.back(wordsFor(back), back.resumed);
    },
    changed: (connected) => {
      draft.placeholder = connected ? "Write a message" : "Sent once connected";
    },
  });
  startChat(client, rooms, startName(), channel);
}

function startChat(client: Client, rooms: Map<string, Room>, name: OwnName, first: string): void {
  let current: Room | undefined;
  const rows = new Map<Room, RoomRow>();
  const mine = trackOwnConnections(client);
  const membersPanel = startMembersPanel(client, name);

  function join(channel: string): void {
    const there = rooms.get(channel);
    if (there === undefined && rooms.size >= ROOMS_MAX) {
      return toast("Too many channels", `This page shows at most ${ROOMS_MAX}: leave one first.`);
    }
    open(there ?? newRoom(channel));
  }

  function newRoom(channel: string): Room {
    const room = new Room({
      client,
      channel,
      mine,
      grown: (heard) => grown(room, heard),
      peopled: () => {
        if (room === current) membersPanel.show(room.people);
      },
      failed: reportError,
    });
    const row = makeRoomRow(channel, { open: () => open(room), leave: () => leave(room) });
    rooms.set(channel, room);
    rows.set(room, row);
    byId("rooms", HTMLElement).append(row.element);
    return room;
  }

  function open(room: Room): void {
    current = room;
    room.unread = 0;
    rememberChannel(room.channel);
    byId("channel", HTMLElement).textContent = room.channel;
    byId("conversation", HTMLElement).replaceChildren(room.list);
    membersPanel.show(room.people);
    toEnd();
    refresh();
  }

  function leave(room: Room): void {
    room.leave();
    rooms.delete(room.channel);
    rows.get(room)?.element.remove();
    rows.delete(room);
    const [next] = rooms.values();
    if (room === current && next !== undefined) open(next);
    else refresh();
  }

  function grown(room: Room, heard: boolean): void {
    if (heard && (room !== current || document.hidden)) room.unread++;
    if (room === current) {
      if (atEnd) toEnd();
      else if (heard) newer.hidden = false;
    }
    refresh();
  }

  function refresh(): void {
    if (current === undefined) return;
    byId("count", HTMLElement).textContent = plural(current.count, "message", "messages");
    byId("empty", HTMLElement).hidden = current.list.childElementCount > 0;
    const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${current.channel} · Starling`;
    for (const [room, row] of rows) {
      row.show({ current: room === current, unread: room.unread, mayLeave: rows.size > 1 });
    }
  }

  onSubmit("join", () => {
    const input = byId("join-name", HTMLInputElement);
    const channel = input.value.trim();
    if (channel === "") return;
    input.value = "";
    join(channel);
    draft.focus();
  });
  onSubmit("write", () => {
    const text = draft.value.trim();
    if (text === "" || current === undefined) return;
    draft.value = "";
    atEnd = true;
    current.say(name.current, text);
  });
  draft.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("write", HTMLFormElement).requestSubmit();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || current === undefined) return;
    current.unread = 0;
    refresh();
  });
  window.setInterval(() => {
    if (current?.people.count === undefined || document.hidden || client.state !== "connected") return;
    current.people.refresh();
  }, PEOPLE_INTERVAL_MS);
  join(first);
  void name.chosen.then(() => draft.focus());
}

/** Whether one is looking at the newest message. */
let atEnd = true;

function toEnd(): void {
  atEnd = true;
  newer.hidden = true;
  pane.scrollTop = pane.scrollHeight;
}

pane.addEventListener("scroll", () => {
  atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_END_PX;
  if (atEnd) newer.hidden = true;
});
newer.addEventListener("click", toEnd);
new ResizeObserver(() => {
  if (atEnd) toEnd();
}).observe(pane);

function onSubmit(id: string, act: () => void): void {
  byId(id, HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

function wordsFor({ resumed, node, nodeBefore, awayMs }: Back): string {
  const away = `after ${duration(awayMs)}`;
  const where = node === nodeBefore ? `on ${node}` : `on ${node}, away from ${nodeBefore}`;
  return resumed ? `Resumed ${where}, ${away}` : `Connected again ${where}, ${away}: the session was gone`;
}

function reportError(error: StarlingError): void {
  // The status has it, for as long as it lasts.
  if (error.code === "connect_failed") return;
  toast(titleOf(error), error.message);
}

/** There is nothing to connect to. */
function refuse(message: string): void {
  byId("link", HTMLElement).dataset["state"] = "closed";
  byId("state", HTMLElement).textContent = "Closed";
  const why = byId("why", HTMLElement);
  why.textContent = message;
  why.hidden = false;
  draft.disabled = true;
}
