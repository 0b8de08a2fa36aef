import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // uWebSockets.js is a native module with state of the process: no threads.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // A test that needs a second try has found something.
    retry: 0,
    // A wrong argument must not pass as success.
    passWithNoTests: false,
  },
});
