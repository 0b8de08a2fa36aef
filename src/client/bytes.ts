/**
 * Uint8Array<ArrayBuffer>, which WebSocket.send() asks for since TypeScript 5.7, and plain Uint8Array before:
 * there it is not generic, and what is emitted here must compile.
 */
export type Bytes = ReturnType<Uint8ArrayConstructor["of"]>;

/** How many bytes a text has in UTF-8, counted: not every React Native has a TextEncoder. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Each half of a surrogate pair is two of its four bytes.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return bytes;
}
