/** The demo: a small chat over the SDK, as an application would use it. */

import { connect, type Client, type StarlingError } from "starling-edge/client";
import { readAddress, rememberChannel, type Wishes } from "./address.js";
import { startComposer } from "./composer.js";
import { showEmpty, startConversation } from "./conversation.js";
import { byId, duration, onSubmit } from "./dom.js";
import { titleOf } from "./failure.js";
import { startMembersPanel } from "./members-panel.js";
import { startName } from "./name.js";
import { trackOwnConnections } from "./own-connections.js";
import { startRooms, type Rooms } from "./rooms.js";
import { startRoundTrip } from "./round-trip.js";
import { offerSecondWindow, type SecondWindow } from "./second-window.js";
import { showRefusal, startStatus, type Back } from "./status.js";
import { toast } from "./toasts.js";

/** Who is here is asked anew this often: a channel need not tell who comes and goes. */
const PEOPLE_INTERVAL_MS = 30_000;

/** One opens the keyboard by oneself where it is a part of the screen. */
const HAS_KEYBOARD = matchMedia("(hover: hover)").matches;

start();

function start(): void {
  const secondWindow = offerSecondWindow(document.querySelectorAll<HTMLAnchorElement>("a.beside"));
  let client: Client;
  let wishes: Wishes;
  try {
    wishes = readAddress(location);
    const { urls, token } = wishes;
    client = connect(urls, token === undefined ? {} : { token });
  } catch (error) {
    closeForms();
    document.body.classList.add("refused");
    return showRefusal(error instanceof Error ? error.message : String(error));
  }
  startChat(client, wishes.channel, secondWindow);
}

function startChat(client: Client, first: string, secondWindow: SecondWindow): void {
  client.on("error", (error) => {
    // The state tells why there is no connection.
    if (client.state === "connected") reportError(error);
  });
  client.on("state", ({ state }) => {
    if (state === "closed") closeForms();
  });
  startRoundTrip(client);
  startStatus({ client, back: (back) => rooms.each((room) => room.back(wordsFor(back), back.resumed)) });
  const name = startName(() => {
    rooms.each(({ people }) => people.introduce());
    membersPanel.show(rooms.current?.people);
  });
  const membersPanel = startMembersPanel(client, () => name.current);
  const conversation = startConversation(client);
  const composer = startComposer({
    ...{ client, name },
    room: () => rooms.current,
    sending: () => conversation.toEnd(),
  });
  const rooms: Rooms = startRooms({
    client,
    mine: trackOwnConnections(client),
    // A user is called by the user until a name is chosen.
    toldName: () => (name.chosen || client.connection?.user === null ? name.current : undefined),
    opened(room) {
      if (room !== undefined) rememberChannel(room.channel);
      secondWindow.refresh();
      conversation.open(room);
      membersPanel.show(room?.people);
      composer.refresh();
    },
    grown(heard) {
      conversation.grown(heard);
      composer.refresh();
    },
    peopled: () => membersPanel.show(rooms.current?.people),
    failed: reportError,
  });
  rooms.restore(first);

  onSubmit("join", () => {
    const input = byId("join-name", HTMLInputElement);
    const channel = input.value.trim();
    if (channel === "") return;
    input.value = "";
    rooms.join(channel);
    if (HAS_KEYBOARD) composer.focus();
  });
  window.setInterval(() => {
    const people = rooms.current?.people;
    if (people?.count === undefined || document.hidden || client.state !== "connected") return;
    people.refresh();
  }, PEOPLE_INTERVAL_MS);
  if (HAS_KEYBOARD) composer.focus();
}

function wordsFor({ resumed, node, nodeBefore, awayMs }: Back): string {
  const away = `after ${duration(awayMs)}`;
  const where = node === nodeBefore ? `on ${node}` : `on ${node}, away from ${nodeBefore}`;
  return resumed ? `Resumed ${where}, ${away}` : `Connected again ${where}, ${away}: the session was gone`;
}

function reportError(error: StarlingError): void {
  // The status has it, for as long as it lasts.
  if (error.code === "connect_failed") return;
  toast(titleOf(error), error.message);
}

/** There is no connection, and there will be none. */
function closeForms(): void {
  for (const id of ["join-fields", "write-fields"]) byId(id, HTMLFieldSetElement).disabled = true;
  byId("draft", HTMLTextAreaElement).placeholder = "Nothing can be sent";
  showEmpty("closed");
}
