import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CLOSE_CODES, mayReconnect } from "../../../../src/protocols/starling/close-codes.js";
import { ERROR_CODES } from "../../../../src/core/errors.js";
import { jsonCodec } from "../../../../src/protocols/starling/json-codec.js";
import { ACTIONS } from "../../../../src/protocols/starling/messages.js";

const document = readFileSync(new URL("../../../../PROTOCOL.md", import.meta.url), "utf8");

function section(heading: string): string {
  const start = document.indexOf(`\n${heading}\n`);
  expect(start, `PROTOCOL.md has a section ${heading}`).toBeGreaterThan(-1);
  const level = heading.split(" ")[0]!;
  const end = document.slice(start + heading.length + 2).search(new RegExp(`^#{2,${level.length}} `, "m"));
  return end === -1 ? document.slice(start) : document.slice(start, start + heading.length + 2 + end);
}

function rows(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => /^\| (`|\d)/.test(line))
    .map((line) =>
      line
        .split("|")
        .map((cell) => cell.trim())
        .slice(1, -1),
    );
}

/** The JSON of the examples in a stretch of the document: lines of code that may go on in the next. */
function examples(text: string, side: "C" | "S"): string[] {
  return [...text.matchAll(new RegExp(`^ {4}${side} (\\{.*(?:\\n {7}\\S.*)*)`, "gm"))].map(
    ([, json]) => json!,
  );
}

describe("PROTOCOL.md", () => {
  it("lists exactly the error codes there are", () => {
    const wanted = Object.entries(ERROR_CODES).map(([code, { temporary, meaning }]) => [
      `\`${code}\``,
      temporary ? "yes" : "no",
      meaning,
    ]);
    expect(rows(section("## Error codes"))).toEqual(wanted);
  });

  it("lists exactly the close codes there are, and which of them are final", () => {
    const listed = rows(section("## Close codes")).map(([code, name, reconnect]) => [code, name, reconnect]);
    const wanted = Object.entries(CLOSE_CODES).map(([name, { code }]) => [
      String(code),
      `\`${name}\``,
      code === 1000 ? "no need" : mayReconnect(code) ? "yes" : "no",
    ]);
    expect(listed).toEqual(wanted);
  });

  it.each(ACTIONS)("describes %s, with an example that the codec reads", (action) => {
    const [example] = examples(section(`### ${action}`), "C");
    expect(jsonCodec.decode(Buffer.from(example!)).action).toBe(action);
  });

  it.each(["welcome", "message", "reply", "error", "unsubscribed", "closing", "pong"])(
    "describes what the server sends as %s",
    (type) => expect(section(`### ${type}`).length).toBeGreaterThan(40),
  );

  it("has no example of the server's that is not JSON", () => {
    const found = examples(document, "S");
    expect(found.length).toBeGreaterThan(5);
    for (const example of found) expect(JSON.parse(example)).toHaveProperty("type");
  });
});
