/** A window beside this page that shares no storage with this tab: it has a name of its own, but the same token. */

import { addressBeside } from "./address.js";

const WIDTH_MIN_PX = 420;
const WIDTH_MAX_PX = 760;
/** On a smaller screen nothing stands beside a window: there it is another tab. */
const SCREEN_MIN_PX = 900;

export interface SecondWindow {
  /** This page's address is another. */
  refresh(): void;
}

export function offerSecondWindow(links: Iterable<HTMLAnchorElement>): SecondWindow {
  // Before any click: not every way to follow a link begins with one.
  function refresh(): void {
    for (const link of links) link.href = addressBeside(location.href);
  }

  refresh();
  for (const link of links) {
    link.addEventListener("click", (event) => {
      // Who asks for a tab, with a key of the browser's, gets one.
      const asksForTab = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
      if (asksForTab || screen.availWidth < SCREEN_MIN_PX) return;
      event.preventDefault();
      window.open(link.href, "_blank", `popup,noopener,${placeBeside()}`);
    });
  }
  return { refresh };
}

/** To the right of this window, else to its left; where there is no room, over its right side. */
function placeBeside(): string {
  const { screenX, screenY, outerWidth, outerHeight } = window;
  // Not 0 on a second screen; not every browser tells.
  const { availLeft = 0, availWidth } = screen as Screen & { availLeft?: number };
  const width = Math.min(WIDTH_MAX_PX, Math.max(WIDTH_MIN_PX, availWidth - outerWidth));
  const right = availLeft + availWidth - width;
  const isRoomLeft = screenX - width >= availLeft;
  const left =
    screenX + outerWidth > right && isRoomLeft ? screenX - width : Math.min(screenX + outerWidth, right);
  return `left=${left},top=${screenY},width=${width},height=${outerHeight}`;
}
