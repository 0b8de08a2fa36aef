/** What may be published: bytes, or what JSON carries unchanged. Anything else is refused by name, before it is sent. */

/** ArrayBuffers and views of them, other realms' too. */
const BYTES = /^(Shared)?ArrayBuffer$/;

/**
 * @returns bytes as a Uint8Array, anything else as it is
 * @throws TypeError naming the first value that would arrive as another, and where it stands
 */
export function contentOf(content: unknown): unknown {
  if (ArrayBuffer.isView(content)) {
    return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  }
  if (BYTES.test(tagOf(content))) return new Uint8Array(content as ArrayBuffer);
  if (content === undefined) throw refusal("content", "undefined");
  check(content, "content", "", []);
  return content;
}

/** @param around  the objects and arrays that hold the value */
function check(value: unknown, at: string, key: string, around: readonly unknown[]): void {
  if (typeof value === "string" || typeof value === "boolean" || value === null) return;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return;
    throw refusal(at, String(value));
  }
  const tag = tagOf(value);
  const isBytes = ArrayBuffer.isView(value) || BYTES.test(tag);
  const { toJSON } = Object(value) as { toJSON?: unknown };
  if (typeof toJSON === "function" && !isBytes) {
    const json: unknown = toJSON.call(value, key);
    // An invalid Date.
    if (json === null || json === undefined) throw refusal(at, `${named(tag)} that has no JSON`);
    return check(json, at, key, [...around, value]);
  }
  if (typeof value !== "object") throw refusal(at, `a ${typeof value}`);
  if (around.includes(value)) throw refusal(at, "an object that holds itself");
  const inside = [...around, value];
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      if (value[i] === undefined) throw refusal(`${at}[${i}]`, "undefined");
      check(value[i], `${at}[${i}]`, String(i), inside);
    }
    return;
  }
  if (tag !== "Object") throw refusal(at, `${named(tag)}${isBytes ? " inside other content" : ""}`);
  for (const [name, field] of Object.entries(value)) {
    if (field !== undefined) check(field, `${at}.${name}`, name, inside);
  }
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function named(tag: string): string {
  return `${/^[AEIO]/.test(tag) ? "an" : "a"} ${tag}`;
}

function refusal(at: string, what: string): TypeError {
  return new TypeError(`${at} is ${what}: give what JSON can say, or bytes alone`);
}
