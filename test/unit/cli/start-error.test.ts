import { describe, expect, it } from "vitest";
import { startError } from "../../../src/cli/start-error.js";

describe("a start that failed", () => {
  it("is one line with its causes, each said once", () => {
    const cause = new Error("connect ECONNREFUSED 127.0.0.1:1", { cause: new Error("ECONNREFUSED") });
    const { message } = startError(new Error("Redis cannot be reached", { cause }), false);
    expect(message).toBe("cannot start: Redis cannot be reached: connect ECONNREFUSED 127.0.0.1:1");
  });

  it("has a stack only where debug asks for it", () => {
    const error = new Error("broken");
    expect(startError(error, false).message).not.toContain("\n");
    expect(startError(error, true).message).toContain("start-error.test");
  });

  it("says what runs where if the native module does not load", () => {
    const error = new Error(
      "This version of uWS.js supports only Node.js versions 16, 18\n\nError: libc.so.6: version `GLIBC_2.38' not found",
    );
    const { message } = startError(error, false);
    expect(message).toMatch(/Node 20 with glibc 2\.27 or later.*Node 22 and 24 with glibc 2\.38/);
    expect(message).toContain(`found: Node ${process.versions.node}, ${process.platform} ${process.arch}`);
    expect(message).toMatch(/The client SDK runs anywhere/);
    expect(message).not.toContain("\n");
  });
});
