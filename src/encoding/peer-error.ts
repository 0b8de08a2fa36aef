/**
 * An error of a peer's making, such as a frame that cannot be read. It has no stack: capturing one takes
 * 5 us, twice for most bad frames, and whoever floods a node with them would be paid in it.
 */
export class PeerError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
