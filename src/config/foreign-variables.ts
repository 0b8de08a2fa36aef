/** Variables of the environment that seem meant for this node, and that it does not read. */

import { appsOf } from "./all-apps.js";
import { ENV_PREFIX, type Config } from "./options.js";

type Environment = Readonly<Record<string, string | undefined>>;

interface Foreign {
  readonly of: string;
  readonly names: RegExp;
  /** Of docs/pusher.md. */
  readonly section: string;
  /** Laravel reads them too, beside a node that has what they say by its own variables. */
  readonly unlessKeys?: true;
}

const FOREIGN: readonly Foreign[] = [
  {
    of: "Soketi",
    // Those without its prefix only where no other program's are called so.
    names:
      /^(?:SOKETI_|DEFAULT_APP_|APP_MANAGER_|ADAPTER_(?:DRIVER|REDIS|CLUSTER|NATS)|CHANNEL_LIMITS_|EVENT_MAX_|PRESENCE_MAX_)/,
    section: "soketi",
  },
  {
    of: "Reverb",
    names: /^REVERB_(?:SERVER_|SCALING_|MAX_REQUEST_SIZE$|APP_(?:PING_|ACTIVITY_|MAX_|ACCEPT_|RATE_LIMIT))/,
    section: "laravel-reverb",
  },
  {
    of: "Laravel",
    names: /^(?:PUSHER|REVERB)_APP_(?:ID|KEY|SECRET)$/,
    section: "moving",
    unlessKeys: true,
  },
];

/** @returns what to tell of them, at most a sentence for each program */
export function foreignVariables(env: Environment, config: Config): string[] {
  const names = Object.keys(env)
    .filter((name) => env[name] !== undefined && env[name] !== "")
    .sort();
  const hasKeys = appsOf(config).some(({ keys }) => keys.length > 0);
  const warnings = FOREIGN.flatMap(({ of, names: pattern, section, unlessKeys = false }) => {
    const found = unlessKeys && hasKeys ? [] : names.filter((name) => pattern.test(name));
    return withoutEffect(found, of, `docs/pusher.md#${section} names what to set instead`);
  });
  const small = names.filter((name) => isInSmallLetters(name));
  const [first = ""] = small;
  return [
    ...warnings,
    ...withoutEffect(small, "Starling", `names are in capital letters, as ${first.toUpperCase()}`),
  ];
}

function isInSmallLetters(name: string): boolean {
  return !name.startsWith(ENV_PREFIX) && name.toUpperCase().startsWith(ENV_PREFIX);
}

function withoutEffect([first, ...others]: readonly string[], of: string, instead: string): string[] {
  if (first === undefined) return [];
  const shown = others.length === 0 ? `${first} has` : `${first} and ${others.length} more of ${of} have`;
  return [`${shown} no effect: ${instead}`];
}
