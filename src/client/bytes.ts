/**
 * Uint8Array<ArrayBuffer>, which WebSocket.send() asks for since TypeScript 5.7, and plain Uint8Array before:
 * there it is not generic, and what is emitted here must compile.
 */
export type Bytes = ReturnType<Uint8ArrayConstructor["of"]>;
