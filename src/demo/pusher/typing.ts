/** Who is writing, by client events of the presence channel: no back end has anything to do with them. */

import { byId } from "../dom.js";
import type { Members } from "./members.js";

export interface Typing {
  /** Tells the others, but not at each key. */
  tell(): void;
  /** What one wrote is sent: the next key begins another message. */
  sent(): void;
  /** What someone wrote is here. */
  stopped(name: string): void;
  /** Nobody is heard any more. */
  cut(): void;
}

const EVENT = "client-typing";
const EVERY_MS = 2000;
/** A key that was not pressed for so long. */
const SHOWN_MS = 4000;

export function startTyping(members: Members): Typing {
  const hint = byId("hint", HTMLElement);
  const plain = hint.textContent;
  /** By name: when it was told last. */
  const typing = new Map<string, number>();
  let timer: number | undefined;
  let toldAt = -Infinity;

  function show(): void {
    window.clearTimeout(timer);
    const now = performance.now();
    for (const [name, at] of typing) if (now - at >= SHOWN_MS) typing.delete(name);
    const names = [...typing.keys()];
    hint.toggleAttribute("data-typing", names.length > 0);
    hint.textContent = names.length === 0 ? plain : wordsFor(names);
    if (names.length > 0) timer = window.setTimeout(show, SHOWN_MS / 4);
  }

  members.each((channel) => {
    channel.bind(EVENT, (_data: unknown, { user_id: user }: { user_id?: string } = {}) => {
      // The node says who it was: data could say anything.
      const name = user === undefined ? undefined : members.nameOf(user);
      if (name === undefined) return;
      typing.set(name, performance.now());
      show();
    });
  });
  return {
    tell() {
      const now = performance.now();
      if (now - toldAt < EVERY_MS || !members.channel.subscribed) return;
      toldAt = now;
      members.channel.trigger(EVENT, {});
    },
    sent() {
      toldAt = -Infinity;
    },
    stopped(name) {
      if (typing.delete(name)) show();
    },
    cut() {
      typing.clear();
      show();
    },
  };
}

function wordsFor(names: readonly string[]): string {
  if (names.length > 2) return `${names.length} people are typing…`;
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} typing…`;
}
