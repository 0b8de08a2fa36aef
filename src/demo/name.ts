/** Who one is here: a name that this tab remembers. */

import { byId, paintAvatar } from "./dom.js";

const STORED_AS = "starling-demo-name";
export const NAME_MAX = 40;
const MOODS = ["Quiet", "Bright", "Early", "Swift", "Merry", "Bold"];
const BIRDS = ["Wren", "Finch", "Robin", "Lark", "Jay", "Swallow"];

export interface OwnName {
  readonly current: string;
  /** Resolves once there is a name: at once where the tab remembers one. */
  readonly chosen: Promise<void>;
}

export function startName(): OwnName {
  const dialog = byId("hello", HTMLDialogElement);
  const input = byId("hello-name", HTMLInputElement);
  let current = recall();

  const show = (): void => {
    byId("me-name", HTMLElement).textContent = current;
    paintAvatar(byId("me-avatar", HTMLElement), current);
  };
  const ask = (): void => {
    input.value = current || suggestion();
    dialog.showModal();
    input.select();
  };
  const chosen = new Promise<void>((resolve) => {
    // Also after Escape: then it is the name that was suggested.
    dialog.addEventListener("close", () => {
      current = tidy(input.value) || current || suggestion();
      remember(current);
      show();
      resolve();
    });
    if (current !== "") resolve();
  });
  byId("me", HTMLButtonElement).addEventListener("click", ask);
  if (current === "") ask();
  else show();
  return {
    get current() {
      return current;
    },
    chosen,
  };
}

function tidy(name: string): string {
  return name.trim().replace(/\s+/g, " ").slice(0, NAME_MAX);
}

function suggestion(): string {
  const any = (words: readonly string[]): string => words[Math.floor(Math.random() * words.length)] ?? "";
  return `${any(MOODS)} ${any(BIRDS)}`;
}

function recall(): string {
  try {
    return tidy(sessionStorage.getItem(STORED_AS) ?? "");
  } catch (error) {
    // Storage can be forbidden by the browser's settings: one is then asked again.
    console.info("the name is not remembered", error);
    return "";
  }
}

function remember(name: string): void {
  try {
    sessionStorage.setItem(STORED_AS, name);
  } catch (error) {
    console.info("the name is not remembered", error);
  }
}
