/** The members of a channel, in the head of the conversation: a few faces, a number, and a list that opens. */

import type { Client } from "starling-edge/client";
import { byId, make, paintAvatar } from "./dom.js";
import type { People, Person } from "./people.js";
import { nodeOf } from "./chat-message.js";

const FACES = 3;
const ROWS_MAX = 50;

export interface MembersPanel {
  /** @param people undefined: no channel is open */
  show(people: People | undefined): void;
}

export function startMembersPanel(client: Client, ownName: () => string): MembersPanel {
  const button = byId("here", HTMLButtonElement);
  const panel = byId("people", HTMLElement);
  let shown: People | undefined;

  function show(people: People | undefined): void {
    shown = people;
    const count = people?.count;
    button.hidden = count === undefined;
    if (people === undefined || count === undefined) return panel.hidePopover();
    const all = people.list.map((person) => mark(person));
    // Oneself first, then who is known by name.
    all.sort((a, b) => Number(b.own) - Number(a.own) || byName(a, b));
    byId("here-count", HTMLElement).textContent = `${count.toLocaleString()} here`;
    const named = all.flatMap(({ name }) => name ?? []).slice(0, FACES);
    byId("here-faces", HTMLElement).replaceChildren(...named.map(face));
    const rows = all.slice(0, ROWS_MAX);
    byId("people-list", HTMLElement).replaceChildren(...rows.map(row));
    const more = byId("people-more", HTMLElement);
    more.hidden = count <= rows.length;
    more.textContent = `and ${(count - rows.length).toLocaleString()} more`;
  }

  function mark(person: Person): Person & { own: boolean } {
    const me = client.connection;
    const own =
      person.connection === me?.connection || (person.user !== undefined && person.user === me?.user);
    return { ...person, own, name: person.tokenName ?? (own ? ownName() : person.name) };
  }

  panel.addEventListener("toggle", () => {
    show(shown);
    const at = button.getBoundingClientRect();
    panel.style.setProperty("--right", `${document.documentElement.clientWidth - at.right}px`);
    panel.style.setProperty("--top", `${at.bottom + 8}px`);
  });
  client.on("state", ({ state }) => button.toggleAttribute("data-stale", state !== "connected"));
  return { show };
}

function byName(a: Person, b: Person): number {
  if (a.name === undefined || b.name === undefined)
    return Number(a.name === undefined) - Number(b.name === undefined);
  return a.name.localeCompare(b.name);
}

function face(name: string): HTMLElement {
  const avatar = make("span", { className: "avatar", attributes: { "aria-hidden": "true" } });
  paintAvatar(avatar, name);
  return avatar;
}

function row({ connection, name, own }: Person & { own: boolean }): HTMLElement {
  const node = nodeOf(connection);
  const avatar = face(name ?? "");
  if (name === undefined) avatar.dataset["unknown"] = "";
  return make("li", { title: connection }, [
    avatar,
    make("bdi", { className: "person", text: name ?? "Someone quiet" }),
    ...(own ? [make("span", { className: "person-own", text: "you" })] : []),
    ...(node === undefined ? [] : [make("span", { className: "via", text: node })]),
  ]);
}
