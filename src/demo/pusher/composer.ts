/** Where one writes. */

import { byId, onSubmit } from "../dom.js";
import type { OwnName } from "../name.js";

export interface ComposerOptions {
  readonly name: OwnName;
  readonly say: (text: string) => void;
  /** A key was pressed. */
  readonly writing: () => void;
}

export interface Composer {
  enable(able: boolean): void;
  focus(): void;
}

export function startComposer({ name, say, writing }: ComposerOptions): Composer {
  const draft = byId("draft", HTMLTextAreaElement);

  async function send(): Promise<void> {
    const text = draft.value.trim();
    // Put off, the question leaves the draft as it is.
    if (text === "" || !(await name.settle())) return;
    // Not what was begun since.
    if (draft.value.trim() === text) draft.value = "";
    say(text);
    draft.focus();
  }

  onSubmit("write", () => void send());
  draft.addEventListener("input", () => {
    if (draft.value.trim() !== "") writing();
  });
  draft.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("write", HTMLFormElement).requestSubmit();
  });
  return {
    enable(able) {
      byId("write-fields", HTMLFieldSetElement).disabled = !able;
      draft.placeholder = able ? "Write a message" : "Nothing can be sent";
    },
    focus: () => draft.focus(),
  };
}
