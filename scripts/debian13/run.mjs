/** Commands that are waited for, and end with this process. */

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

const running = new Set();
let ending = false;

/** Its standard output goes to stderr unless told otherwise: stdout is what the tests say. */
export function run(command, args, { env = process.env, stdout = 2 } = {}) {
  return new Promise((resolve, reject) => {
    if (ending) return reject(new Error("ended by a signal"));
    // In a group of its own: Ctrl-C reaches it through endAll() alone.
    const child = spawn(command, args, { env, stdio: ["ignore", stdout, 2], detached: true });
    running.add(child);
    child.once("error", (error) => {
      running.delete(child);
      reject(error.code === "ENOENT" ? new Error(`${command} is missing: install it`) : error);
    });
    child.once("exit", (code, signal) => {
      running.delete(child);
      if (code === 0) return resolve();
      reject(Object.assign(new Error(`${command} ended with ${signal ?? `exit code ${code}`}`), { code }));
    });
  });
}

/** As run(), in namespaces of its own: what it mounts and starts is gone with it, however it or this process ends. */
export function runApart(command, args, options) {
  const apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", command, ...args];
  return run("setpriv", ["--pdeathsig", "KILL", ...apart], options);
}

/** Kills what runs; whoever waits for it, or starts something after this, gets an error. */
export function endAll() {
  ending = true;
  for (const child of running) {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }
}

export function commandExists(command) {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
