/** What the client SDK shares with the server. */

export { isServerChannel, userOfChannel } from "../../core/channel-name.js";
export { ERROR_CODES, type ErrorCode } from "../../core/errors.js";
export type { Position, Sender, Tags } from "../../core/publication.js";
