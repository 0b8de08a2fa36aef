/** `starling cluster` with the demo page in a browser: what its output says to do, done. */

import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { connect } from "../../src/client/index.js";
import { startBrowser, type TestBrowser } from "../support/browser.js";
import {
  clusterNodes,
  clusterUrl,
  pathWithoutEnvoy,
  pidsToKill,
  starling,
  until,
} from "../support/program.js";
import { DEADLINE, enterChat } from "./chat-page.js";

declare global {
  interface Window {
    recording?: [atMs: number, state: string][];
  }
}

let browser: TestBrowser;
beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser.close());

it.each([
  ["its own balancer", false],
  ["Envoy", true],
])(
  "the page on the node that the output says to kill goes on, and catches up, behind %s",
  { timeout: 90_000 },
  async (front, withEnvoy) => {
    const args = ["cluster", "--port", "0", "--lease-ttl-ms", "1500", "--drain-ms", "100"];
    const program = starling(args, withEnvoy ? {} : { PATH: pathWithoutEnvoy() });
    await until(program, () => program.stdout.includes("Ctrl-C stops all"));
    expect(program.stdout).toContain(`front  ${withEnvoy ? "Envoy" : "a TCP balancer"}`);
    const ada = await enterChat(browser, clusterUrl(program, "demo"), "Ada", {
      first: () => {
        // The jitter at its ceiling: a second, in which something can be missed.
        Math.random = () => 0.999;
      },
    });
    const node = await ada.text("#node");
    const nodes = clusterNodes(program);
    await until(program, () => pidsToKill(program).at(-1) === nodes.find(({ id }) => id === node)?.pid);
    const bob = connect(nodes.find(({ id }) => id !== node)!.wsUrl, { WebSocket });
    await bob.publish("chat:lobby", { text: "before" });
    await expect.poll(() => ada.lines(), DEADLINE).toEqual(["before"]);

    await ada.page.evaluate(() => {
      const state = document.querySelector("#state")!;
      const startedAtMs = performance.now();
      const recording: [number, string][] = (window.recording = []);
      new MutationObserver(() => {
        const text = state.textContent;
        if (recording.at(-1)?.[1] !== text)
          recording.push([Math.round(performance.now() - startedAtMs), text]);
      }).observe(state, { childList: true, characterData: true, subtree: true });
    });
    const command = /now (kill -9 \d+) and watch[^\n]*\n(?![^]*and watch)/.exec(program.stdout)![1]!;
    execFileSync("/bin/sh", ["-c", command]);
    // At once: the page is back within a second.
    const missed = ["missed 1", "missed 2", "missed 3"];
    await Promise.all(missed.map((text) => bob.publish("chat:lobby", { text })));

    const line = new RegExp(
      `^Resumed on (node-\\S+), away from ${node}, after [\\d.]+ m?s: caught up on 3 messages$`,
    );
    await expect
      .poll(() => ada.lines(), DEADLINE)
      .toEqual(["before", expect.stringMatching(line), ...missed]);
    await expect.poll(() => ada.text("#state"), DEADLINE).toBe("Connected");
    const recording = await ada.page.evaluate(() => window.recording ?? []);
    console.info(
      `behind ${front}: ${command}; ${recording.map(([atMs, state]) => `${atMs} ms ${state}`).join(", ")}; ` +
        (await ada.lines()).join(" | "),
    );
    expect(recording.map(([, state]) => state)).toEqual([
      "Waiting 1 s",
      "Connecting…",
      "Resumed",
      "Connected",
    ]);

    // Its node is there again, and the page was not sent anywhere for that.
    await until(program, () => clusterNodes(program).some(({ id }) => id === `${node}r1`));
    expect(await ada.text("#state")).toBe("Connected");
    expect(ada.faults).toEqual([]);
    bob.close();
    await ada.page.context().close();
    program.child.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  },
);
