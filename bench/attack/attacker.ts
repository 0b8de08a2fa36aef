/** One attacker's process: runs the attack that its parent names until it is told to stop, then tells what it did. */

import { attacks, type Damage, type Target } from "./attacks.js";

export type ToAttacker =
  | { readonly kind: "run"; readonly attack: string; readonly target: Target; readonly epoch: string }
  | { readonly kind: "stop" };

const WAIT_MS = 50;
const WAITS_MAX = 1_200;

const end = new AbortController();
const damage: Damage = { sent: 0, closed: 0, refused: 0 };

process.on("message", (message: ToAttacker) => {
  if (message.kind === "stop") {
    void stop();
    return;
  }
  const attack = attacks.find(({ name }) => name === message.attack);
  if (attack === undefined) throw new Error(`no attack is named ${message.attack}`);
  void attack.run(message.target, damage, end.signal, message.epoch).finally(() => {
    process.send?.(damage, () => process.exit(0));
  });
});
/** An attacker that the machine has not let run yet has shown nothing: it is waited for. */
async function stop(): Promise<void> {
  for (let waits = 0; damage.sent + damage.refused === 0 && waits < WAITS_MAX; waits++) {
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
  }
  end.abort();
}

process.once("disconnect", () => process.exit(0));
