/** `starling config`: what is in force. */

import { loadConfig, shown, type Origin } from "../config/load.js";
import { configurationMarkdown } from "../config/markdown.js";
import { optionNames } from "../config/options.js";

interface ConfigFlags {
  readonly json?: true;
  readonly markdown?: true;
  readonly config?: string;
}

export function configCommand({ json, markdown, config: configFile, ...flags }: ConfigFlags): void {
  if (markdown) {
    process.stdout.write(configurationMarkdown());
    return;
  }
  const { config, origins, warnings } = loadConfig({ flags, env: process.env, configFile });
  for (const warning of warnings) process.stderr.write(`starling: warning: ${warning}\n`);
  if (json) {
    const entries = optionNames.map((name) => {
      const safe = shown(name, config[name], (value) => JSON.stringify(value));
      const hidden = safe === "***";
      const value: unknown = hidden ? safe : config[name] === undefined ? null : JSON.parse(safe);
      return [name, { value, from: from(origins[name]) }];
    });
    process.stdout.write(`${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
    return;
  }
  const rows = optionNames.map((name) => {
    const value = config[name];
    const plain = (inner: unknown): string =>
      Array.isArray(inner) && inner.every((item) => typeof item === "string")
        ? inner.join(",") || "none"
        : typeof inner === "string"
          ? inner
          : JSON.stringify(inner);
    return [name, shown(name, value, plain), from(origins[name])] as const;
  });
  const width = (column: 0 | 1): number => Math.min(48, Math.max(...rows.map((row) => row[column].length)));
  for (const [name, value, origin] of rows) {
    process.stdout.write(`${name.padEnd(width(0))}  ${value.padEnd(width(1))}  ${origin}\n`);
  }
}

function from(origin: Origin): string {
  return origin.kind === "default" ? "default" : origin.kind === "file" ? origin.path : origin.name;
}
