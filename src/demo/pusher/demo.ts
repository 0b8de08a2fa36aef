/** The same chat over pusher-js, as an application of Pusher's would use it: of Starling it knows where the node is. */

import { newId } from "../chat-message.js";
import { startName } from "../name.js";
import { offerSecondWindow } from "../second-window.js";
import { startComposer } from "./composer.js";
import { Lobby } from "./lobby.js";
import { startMembers } from "./members.js";
import type { Options, Pusher as PusherClient, PusherClass } from "./pusher-js.js";
import { showFailure, startStatus } from "./status.js";
import { startTyping } from "./typing.js";

/** pusher.min.js makes it. */
declare const Pusher: PusherClass;

/** One opens the keyboard by oneself where it is a part of the screen. */
const HAS_KEYBOARD = matchMedia("(hover: hover)").matches;

interface Settings {
  readonly key: string;
  /** Before `/app/...`. */
  readonly path: string;
  readonly room: string;
  readonly members: string;
}

start().catch((error: unknown) => showFailure(error instanceof Error ? error.message : String(error)));

async function start(): Promise<void> {
  offerSecondWindow(document.querySelectorAll<HTMLAnchorElement>("a.beside:not(.native)"));
  const response = await fetch("/pusher/settings");
  if (!response.ok) throw new Error(`the node does not serve this page any more: HTTP ${response.status}`);
  const settings = (await response.json()) as Settings;
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a.native"))
    link.href = `/?channel=${encodeURIComponent(settings.room)}`;
  startChat(settings);
}

function startChat({ key, path, room, members }: Settings): void {
  const options = optionsFor(path);
  showSample(key, options);
  // What a member shows of itself holds as long as it is there: by another name it is another.
  let user = newId();
  const name = startName(() => {
    user = newId();
    people.introduce();
  });
  const pusher: PusherClient = new Pusher(key, {
    ...options,
    channelAuthorization: {
      endpoint: "/pusher/auth",
      transport: "ajax",
      paramsProvider: () => ({ user, name: name.current }),
    },
  });
  startStatus(pusher);
  const people = startMembers(pusher, members);
  const typing = startTyping(people);
  const lobby = new Lobby({ pusher, channel: room, heardFrom: (sender) => typing.stopped(sender) });
  const composer = startComposer({
    name,
    say(text) {
      typing.sent();
      lobby.say(name.current, text);
    },
    writing: () => typing.tell(),
  });
  pusher.connection.bind("state_change", ({ current }: { current: string }) => {
    if (current !== "connected") typing.cut();
    composer.enable(current !== "disconnected" && current !== "failed");
  });
  if (HAS_KEYBOARD) composer.focus();
}

/** What is another than at Pusher: where the node is. */
function optionsFor(path: string): Options {
  const { hostname, port, protocol } = location;
  const isSecure = protocol === "https:";
  const number = Number(port) || (isSecure ? 443 : 80);
  return {
    cluster: "",
    wsHost: hostname,
    ...(isSecure ? { wssPort: number } : { wsPort: number }),
    ...(path === "" ? {} : { wsPath: path }),
    forceTLS: isSecure,
    enabledTransports: ["ws", "wss"],
  };
}

/** The code by which this very page connects. */
function showSample(key: string, options: Options): void {
  const lines = Object.entries(options).map(([option, value]) => `  ${option}: ${JSON.stringify(value)},`);
  const code = `new Pusher(${JSON.stringify(key)}, {\n${lines.join("\n")}\n});`;
  for (const sample of document.querySelectorAll(".sample code")) sample.textContent = code;
}
