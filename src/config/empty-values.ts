/**
 * Variables that are set and empty count as not set, which compose files rely on (`${X:-}`), and so do names without a
 * value in a config file (`redis:`). Most options then have a default that surprises nobody, or that production
 * refuses. These are the others.
 */

import { isClosed, isOpen } from "./app-checks.js";
import { envName, optionOf, type Config, type OptionName } from "./options.js";

interface Finding {
  /** Why the configuration is refused. */
  readonly error?: string;
  readonly warnings: readonly string[];
}

interface Sources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The option and its file, where that names it without a value. */
  readonly emptyInFile: (option: OptionName) => string | undefined;
  readonly production: boolean;
}

export function emptyValues(config: Config, { env, emptyInFile, production }: Sources): Finding {
  const warnings: string[] = [];
  const emptyOf = (option: OptionName): string | undefined =>
    emptyVariableOf(option, env) ?? emptyInFile(option);
  const warn = (option: OptionName, unset: boolean, means: string): void => {
    const place = emptyOf(option);
    if (unset && place !== undefined) warnings.push(`${place} is empty: ${means}`);
  };
  if (!isOpen(config)) {
    warn("jwtAudience", config.jwtAudience === undefined, "tokens for any audience are accepted");
    warn("jwtIssuer", config.jwtIssuer === undefined, "tokens of any issuer are accepted");
  }
  for (const source of ["jwtSecret", "jwtPublicKeyFile", "jwtJwksUrl"] as const) {
    warn(source, isClosed(config, production), "clients without a signature are refused");
  }
  if (config.clientAddressHops > 0) {
    warn("trustedProxies", config.trustedProxies.length === 0, "X-Forwarded-For of any peer is believed");
  }
  const redis = emptyOf("redis");
  if (config.redis !== undefined || redis === undefined) return { warnings };
  const alone = `${redis} is empty: without Redis this node shares nothing with other nodes`;
  if (!production) return { warnings: [...warnings, alone] };
  return {
    error: `${alone}. With NODE_ENV=production that is refused: give it a URL, or remove it if that is meant`,
    warnings,
  };
}

function emptyVariableOf(
  option: OptionName,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const variable = envName(option);
  const names = optionOf(option).secret === undefined ? [variable] : [variable, `${variable}_FILE`];
  return names.find((name) => env[name] === "");
}
