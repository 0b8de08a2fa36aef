/** Who one is here: a guest's name at first, then one that was chosen. */

import { byId, paintAvatar } from "./dom.js";
import { recall, remember } from "./tab-memory.js";

const REMEMBERED_AS = "name";
const NAME_MAX = 40;
const MOODS = ["Quiet", "Bright", "Early", "Swift", "Merry", "Bold"];
const BIRDS = ["Wren", "Finch", "Robin", "Lark", "Jay", "Swallow"];

export interface OwnName {
  readonly current: string;
  /** false: it is a guest's. */
  readonly chosen: boolean;
  /** Asks for a name, unless one was chosen. @returns whether one is: not where the question was put off */
  settle(): Promise<boolean>;
}

/** @param changed called when a name, or another one, was chosen */
export function startName(changed: (name: string) => void): OwnName {
  const dialog = byId("hello", HTMLDialogElement);
  const input = byId("hello-name", HTMLInputElement);
  let { name, chosen } = recallName() ?? { name: guestName(), chosen: false };

  function show(): void {
    remember(REMEMBERED_AS, { name, chosen });
    byId("me-name", HTMLElement).textContent = name;
    paintAvatar(byId("me-avatar", HTMLElement), name);
  }

  function ask(): Promise<boolean> {
    input.value = name;
    // Escape leaves it as it is.
    dialog.returnValue = "";
    dialog.showModal();
    input.select();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(take(dialog.returnValue)), { once: true });
    });
  }

  function take(answer: string): boolean {
    const given = tidy(input.value);
    if (answer !== "named" || given === "") return false;
    const isNew = !chosen || given !== name;
    chosen = true;
    name = given;
    show();
    if (isNew) changed(name);
    return true;
  }

  byId("me", HTMLButtonElement).addEventListener("click", () => void ask());
  byId("hello-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
  show();
  return {
    get current() {
      return name;
    },
    get chosen() {
      return chosen;
    },
    settle: () => (chosen ? Promise.resolve(true) : ask()),
  };
}

/** A name as it is shown, cut where it is too long. */
export function fitName(name: string): string {
  const fitting = name.trim();
  return fitting.length > NAME_MAX ? `${fitting.slice(0, NAME_MAX)}…` : fitting;
}

function tidy(name: string): string {
  return name.trim().replace(/\s+/g, " ").slice(0, NAME_MAX);
}

function guestName(): string {
  const any = (words: readonly string[]): string => words[Math.floor(Math.random() * words.length)] ?? "";
  return `${any(MOODS)} ${any(BIRDS)}`;
}

function recallName(): { name: string; chosen: boolean } | undefined {
  const stored = recall(REMEMBERED_AS) as { name?: unknown; chosen?: unknown } | null;
  const name = typeof stored?.name === "string" ? tidy(stored.name) : "";
  return name === "" ? undefined : { name, chosen: stored?.chosen === true };
}
