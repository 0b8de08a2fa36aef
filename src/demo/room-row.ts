/** A channel in the list of those that were joined. Made once: one that has the focus must not be replaced. */

import { make } from "./dom.js";

export interface RoomRow {
  readonly element: HTMLLIElement;
  show(state: { current: boolean; unread: number; mayLeave: boolean }): void;
}

export function makeRoomRow(channel: string, acts: { open: () => void; leave: () => void }): RoomRow {
  const unreadBadge = make("span", { className: "room-unread", title: "unread" });
  const open = make("button", { className: "room", attributes: { type: "button" } }, [
    make("span", { className: "room-name", text: channel, title: channel }),
    unreadBadge,
  ]);
  const away = make("button", {
    className: "room-leave",
    text: "×",
    title: "Leave",
    attributes: { type: "button", "aria-label": `Leave ${channel}` },
  });
  open.addEventListener("click", acts.open);
  away.addEventListener("click", acts.leave);
  const element = make("li", {}, [open, away]);
  return {
    element,
    show({ current, unread, mayLeave }) {
      if (current) open.setAttribute("aria-current", "true");
      else open.removeAttribute("aria-current");
      unreadBadge.textContent = String(unread);
      unreadBadge.hidden = current || unread === 0;
      away.hidden = !mayLeave;
    },
  };
}
