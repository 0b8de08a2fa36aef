/** What is derived from the option table: types, names, defaults. */

import { z } from "zod";
import type { Option, Surroundings } from "./option.js";
import { options } from "./table.js";

export { GROUPS } from "./option.js";

export type OptionName = keyof typeof options;
export const optionNames = Object.keys(options) as OptionName[];

type Shape = { readonly [K in OptionName]: (typeof options)[K]["kind"]["schema"] };
/** Each option by itself; config.ts adds what must hold between them. */
export const optionsSchema = z.strictObject(
  Object.fromEntries(optionNames.map((name) => [name, options[name].kind.schema])) as Shape,
);

/** Values of all options, checked. */
export type Config = Readonly<z.output<typeof optionsSchema>>;

/** `maxFrameBytes` as `max-frame-bytes`. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export const ENV_PREFIX = "STARLING_";
/** `maxFrameBytes` as `STARLING_MAX_FRAME_BYTES`. */
export const envName = (name: string): string => ENV_PREFIX + kebab(name).replaceAll("-", "_").toUpperCase();
export const flagName = (name: string): string => `--${kebab(name)}`;

/** The table without its types, to look up by any name. */
export function optionOf(name: OptionName): Option {
  return options[name];
}

export function defaultOf(name: OptionName, surroundings: Surroundings): unknown {
  const declared: unknown = optionOf(name).default;
  return typeof declared === "function" ? (declared as (s: Surroundings) => unknown)(surroundings) : declared;
}
