/** One attacker's process: runs the attack that its parent names until it is told to stop, then tells what it did. */

import { attacks, type Damage, type Target } from "./attacks.js";

export type ToAttacker =
  | { readonly kind: "run"; readonly attack: string; readonly target: Target; readonly epoch: string }
  | { readonly kind: "stop" };

const end = new AbortController();
const damage: Damage = { sent: 0, closed: 0, refused: 0 };

process.on("message", (message: ToAttacker) => {
  if (message.kind === "stop") {
    end.abort();
    return;
  }
  const attack = attacks.find(({ name }) => name === message.attack);
  if (attack === undefined) throw new Error(`no attack is named ${message.attack}`);
  void attack.run(message.target, damage, end.signal, message.epoch).finally(() => {
    process.send?.(damage, () => process.exit(0));
  });
});
process.once("disconnect", () => process.exit(0));
