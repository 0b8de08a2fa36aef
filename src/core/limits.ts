/** Limits of what clients and the server API send and read, which no option changes. PROTOCOL.md lists the same. */

/** Of a publication's event name. */
export const EVENT_CHARACTERS_MAX = 200;
/** Of a publication's tags: how many, and each name and each value. */
export const TAGS_MAX = 16;
export const TAG_CHARACTERS_MAX = 128;
/** Of an id by which a publication may be repeated without being made twice. */
export const MESSAGE_ID_CHARACTERS_MAX = 64;
/** Of the epoch in a position. */
export const EPOCH_CHARACTERS_MAX = 64;
/** Of a token that a client authenticates with. */
export const TOKEN_CHARACTERS_MAX = 8192;
/** Publications or members that one read returns, and how many where no limit is given. */
export const READ_LIMIT_MAX = 1000;
export const READ_LIMIT_DEFAULT = 100;
/** Of a closing's message as UTF-8: a close frame carries 125 bytes, two of them the code (RFC 6455 5.5.1). */
export const CLOSE_MESSAGE_BYTES_MAX = 123;
/** Of the trace context that goes with a publication: a traceparent of version 00 has 55. */
export const TRACE_CHARACTERS_MAX = 256;
/** Of the JSON that a member shows of itself in a channel that has presence. */
export const MEMBER_INFO_BYTES_MAX = 1024;
