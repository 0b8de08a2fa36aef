import { expect, it } from "vitest";
import { startProgram } from "../../../src/cli/programs/program.js";
import { StartError } from "../../../src/cli/start-error.js";

it("a program that cannot be run at all did not start, and that is said", async () => {
  const starting = startProgram({
    name: "it",
    command: "true",
    args: [],
    cwd: "/no/such/directory",
    isUp: () => false,
  });
  const error: unknown = await starting.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StartError);
  expect((error as Error).message).toBe("it did not start:\nspawn /bin/sh ENOENT");
});
