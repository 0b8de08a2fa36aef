/** What the page shows of the open channel: its head, its messages or why there are none, and where one looks. */

import type { Client } from "starling-edge/client";
import { byId, plural } from "./dom.js";
import { followEnd } from "./end.js";
import type { Room } from "./room.js";

export interface Conversation {
  open(room: Room | undefined): void;
  /** There is more of it; `heard`: from someone else. */
  grown(heard: boolean): void;
  toEnd(): void;
}

export function startConversation(client: Client): Conversation {
  const end = followEnd();
  let shown: Room | undefined;

  function refresh(): void {
    byId("channel", HTMLElement).textContent = shown?.channel ?? "No channel";
    byId("count", HTMLElement).textContent = plural(shown?.count ?? 0, "message", "messages");
    byId("kept", HTMLElement).hidden = shown?.keepsNothing !== true;
    showEmpty(emptyState(client, shown));
  }

  client.on("state", refresh);

  return {
    open(room) {
      shown = room;
      byId("conversation", HTMLElement).replaceChildren(...(room === undefined ? [] : [room.list]));
      refresh();
      end.toEnd();
    },
    grown(heard) {
      end.grown(heard);
      refresh();
    },
    toEnd: () => end.toEnd(),
  };
}

type EmptyState = "none" | "closed" | "joining" | "unkept" | "silent";

const EMPTY: Readonly<Record<EmptyState, { title: string; text: string }>> = {
  none: { title: "No channel is open", text: "Join one by its name. A channel need not exist before." },
  closed: { title: "Closed for good", text: "Nothing more is sent or heard here." },
  joining: { title: "Not in this channel yet", text: "What is said here shows once there is a connection." },
  unkept: {
    title: "Nothing is kept here",
    text: "You hear what is said while you are connected, and nothing from before. Write something, or open a second window to hear it there.",
  },
  silent: {
    title: "Nobody has said anything yet",
    text: "Write the first message, or open a second window beside this one to hear it there.",
  },
};

/** Why nothing is shown; undefined: there is something. */
export function showEmpty(state: EmptyState | undefined): void {
  const empty = byId("empty", HTMLElement);
  empty.hidden = state === undefined;
  if (state === undefined) return;
  empty.dataset["state"] = state;
  byId("empty-title", HTMLElement).textContent = EMPTY[state].title;
  byId("empty-text", HTMLElement).textContent = EMPTY[state].text;
}

function emptyState({ state }: Client, room: Room | undefined): EmptyState | undefined {
  if (room !== undefined && room.list.childElementCount > 0) return undefined;
  if (state === "closed") return "closed";
  if (room === undefined) return "none";
  if (room.standing === "joining") return "joining";
  return room.keepsNothing ? "unkept" : "silent";
}
