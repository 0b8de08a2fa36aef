import { byId } from "./dom.js";

/** The details of the connection stand beside the button that opens them; where there is no room, where the style puts them. */
export function placeDetails(): void {
  const details = byId("details", HTMLElement);
  const button = byId("details-open", HTMLElement);
  details.addEventListener("toggle", () => {
    const at = button.getBoundingClientRect();
    details.style.setProperty("--left", `${at.left}px`);
    details.style.setProperty("--top", `${at.bottom + 8}px`);
  });
}
