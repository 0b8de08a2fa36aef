/**
 * Settings that uWebSockets.js takes from the environment when it loads: import
 * this before it. A request head is 4096 bytes at most unless told otherwise,
 * which a token in the query exceeds.
 */
process.env["UWS_HTTP_MAX_HEADERS_SIZE"] ??= "16384";
