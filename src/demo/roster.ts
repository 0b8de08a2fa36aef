/** Who is in a channel, in the head of the conversation: a few faces, a number, and a list that opens. */

import { byId, make, paintAvatar } from "./dom.js";

/** A member as it is shown. */
export interface Shown {
  readonly name: string | undefined;
  readonly own: boolean;
  readonly title: string;
  readonly node?: string | undefined;
}

export interface Roster {
  /** @param members  undefined: nobody knows who is here */
  show(members: readonly Shown[] | undefined, count: number): void;
  /** What is shown may be past. */
  stale(isStale: boolean): void;
}

const FACES = 3;
const ROWS_MAX = 50;

/** @param opened  called when the list opens or closes: what it shows may be old */
export function startRoster(opened: () => void = () => undefined): Roster {
  const button = byId("here", HTMLButtonElement);
  const panel = byId("people", HTMLElement);

  panel.addEventListener("toggle", () => {
    opened();
    const at = button.getBoundingClientRect();
    panel.style.setProperty("--right", `${document.documentElement.clientWidth - at.right}px`);
    panel.style.setProperty("--top", `${at.bottom + 8}px`);
  });
  return {
    show(members, count) {
      button.hidden = members === undefined;
      if (members === undefined) return panel.hidePopover();
      // Oneself first, then who is known by name.
      const all = [...members].sort((a, b) => Number(b.own) - Number(a.own) || byName(a, b));
      byId("here-count", HTMLElement).textContent = `${count.toLocaleString()} here`;
      const named = all.flatMap(({ name }) => name ?? []).slice(0, FACES);
      byId("here-faces", HTMLElement).replaceChildren(...named.map(face));
      const rows = all.slice(0, ROWS_MAX);
      byId("people-list", HTMLElement).replaceChildren(...rows.map(row));
      const more = byId("people-more", HTMLElement);
      more.hidden = count <= rows.length;
      more.textContent = `and ${(count - rows.length).toLocaleString()} more`;
    },
    stale: (isStale) => void button.toggleAttribute("data-stale", isStale),
  };
}

function byName(a: Shown, b: Shown): number {
  if (a.name === undefined || b.name === undefined)
    return Number(a.name === undefined) - Number(b.name === undefined);
  return a.name.localeCompare(b.name);
}

function face(name: string): HTMLElement {
  const avatar = make("span", { className: "avatar", attributes: { "aria-hidden": "true" } });
  paintAvatar(avatar, name);
  return avatar;
}

function row({ name, own, title, node }: Shown): HTMLElement {
  const avatar = face(name ?? "");
  if (name === undefined) avatar.dataset["unknown"] = "";
  return make("li", { title }, [
    avatar,
    make("bdi", { className: "person", text: name ?? "Someone quiet" }),
    ...(own ? [make("span", { className: "person-own", text: "you" })] : []),
    ...(node === undefined ? [] : [make("span", { className: "via", text: node })]),
  ]);
}
