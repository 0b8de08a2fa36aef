import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // uWebSockets.js is a native module with state of the process: no threads.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // As test/support/eventually.ts: what tells a fault from a busy machine.
    expect: { poll: { timeout: 20_000, interval: 10 } },
    // A test that needs a second try has found something.
    retry: 0,
    // A wrong argument must not pass as success.
    passWithNoTests: false,
  },
});
