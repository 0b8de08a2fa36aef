import { describe, expect, it } from "vitest";
import type { LogFields } from "../../../src/core/log.js";
import { createLog, type LogOptions } from "../../../src/log.js";

function logged(options: Partial<LogOptions>, fields: LogFields, message: string): string {
  let text = "";
  const log = createLog({
    level: "info",
    format: "json",
    ...options,
    destination: { write: (line) => void (text += line) },
  });
  log.warn(fields, message);
  return text;
}

/** Clears a screen, sets a title, reverses what follows, and starts a forged line. */
const HOSTILE = "a\u001b[2Jb\u009b31mc\u202ed\u0007e\rf\u007fg\u2028h\nforged";
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e]/;

describe("log", () => {
  it("writes one JSON object a line, with the level by name and an ISO time", () => {
    const text = logged({ base: { node: "n-1" } }, { port: 1 }, "up");
    expect(text.endsWith("}\n")).toBe(true);
    const line = JSON.parse(text) as Record<string, unknown>;
    expect(line).toMatchObject({ level: "warn", node: "n-1", port: 1, msg: "up" });
    expect(new Date(String(line["time"])).toISOString()).toBe(line["time"]);
  });

  it("says whether it writes lines at level debug", () => {
    expect(createLog({ level: "debug", format: "json" }).debugs).toBe(true);
    expect(createLog({ level: "info", format: "json" }).debugs).toBe(false);
  });

  it("writes nothing below its level", () => {
    expect(logged({ level: "error" }, {}, "quiet")).toBe("");
    expect(logged({ level: "silent" }, {}, "quiet")).toBe("");
  });

  it.each(["json", "pretty"] as const)("never shows a secret (%s)", (format) => {
    const secrets = { token: "t-hush", authorization: "Bearer hush", apiKeys: ["hush"], jwtSecret: "hush" };
    const nested = {
      request: { token: "hush", headers: { authorization: "hush" } },
      session: { resume: "hush" },
    };
    const text = logged({ format }, { ...secrets, ...nested }, "x");
    expect(text).not.toContain("hush");
    expect(text).toContain("***");
  });

  it.each(["json", "pretty"] as const)("lets no control character of a client through (%s)", (format) => {
    const text = logged(
      { format },
      { channel: HOSTILE, deep: { list: [HOSTILE] }, [HOSTILE]: 1, err: new Error(HOSTILE) },
      HOSTILE,
    );
    expect(text).toContain("forged");
    expect(text).toContain("\\u001b");
    expect(text).not.toMatch(CONTROL);
  });

  it("keeps what it escapes readable as JSON", () => {
    const line = JSON.parse(logged({}, { channel: HOSTILE }, "x")) as { channel: string };
    expect(line.channel).toBe(HOSTILE);
  });

  it("keeps a pretty line one line, whatever a client put in it", () => {
    const text = logged({ format: "pretty" }, { channel: HOSTILE }, HOSTILE);
    expect(text.trimEnd().split("\n")).toHaveLength(1);
  });
});
