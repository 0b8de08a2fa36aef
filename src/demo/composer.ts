/** Where one writes. */

import type { Client } from "starling-edge/client";
import { byId, onSubmit } from "./dom.js";
import type { OwnName } from "./name.js";
import type { Room } from "./room.js";

export interface ComposerOptions {
  readonly client: Client;
  readonly name: OwnName;
  readonly room: () => Room | undefined;
  /** Before what one wrote is shown. */
  readonly sending: () => void;
}

export interface Composer {
  /** The channel, or its standing, may be another. */
  refresh(): void;
  focus(): void;
}

export function startComposer({ client, name, room, sending }: ComposerOptions): Composer {
  const draft = byId("draft", HTMLTextAreaElement);
  const button = byId("send", HTMLButtonElement);

  async function send(): Promise<void> {
    const text = draft.value.trim();
    const to = room();
    if (text === "" || to === undefined) return;
    // Put off, the question leaves the draft as it is; and so does another channel that is shown meanwhile.
    if (!(await name.settle()) || room() !== to) return;
    // Not what was begun since.
    if (draft.value.trim() === text) draft.value = "";
    sending();
    to.say(name.current, text);
    draft.focus();
  }

  function refresh(): void {
    if (client.state === "closed") return;
    const { able, words } = abilityOf(client, room());
    draft.placeholder = words;
    draft.disabled = button.disabled = !able;
  }

  onSubmit("write", () => void send());
  draft.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("write", HTMLFormElement).requestSubmit();
  });
  client.on("state", refresh);
  return { refresh, focus: () => draft.focus() };
}

function abilityOf({ state }: Client, room: Room | undefined): { able: boolean; words: string } {
  if (room === undefined) return { able: false, words: "Join a channel to write" };
  if (room.standing === "removed") return { able: false, words: "Removed from this channel" };
  return { able: true, words: state === "connected" ? "Write a message" : "Sent once connected" };
}
