/** The option table as commander's options. */

import { InvalidArgumentError, Option, type Command } from "commander";
import { defaultText } from "../config/markdown.js";
import { flagName, optionNames, optionOf, type OptionName } from "../config/options.js";

/** What every command that starts or shows a node takes. */
export function addConfigFlags(command: Command): Command {
  for (const name of optionNames) {
    const declared = optionOf(name);
    const { placeholder } = declared.kind;
    // A switch stands alone, or is followed by true or false.
    const flag = `${flagName(name)} ${placeholder ?? "[true|false]"}`;
    const option = new Option(flag, `${declared.description} ${footnote(name)}`).helpGroup(
      `${declared.group}:`,
    );
    // Given twice, a list grows; anything else is what was said last.
    const grows = placeholder === "<list>";
    option.argParser((value: string, before?: string) => {
      refuseFlagAsValue(flagName(name), value);
      return grows && before !== undefined ? `${before},${value}` : value;
    });
    command.addOption(option);
    if (placeholder === undefined) {
      const opposite = new Option(flagName(name).replace("--", "--no-"), `the opposite of ${flagName(name)}`);
      command.addOption(opposite.helpGroup(`${declared.group}:`).hideHelp(declared.default === false));
    }
  }
  return command
    .addOption(
      new Option(
        "--config <file>",
        "JSON or YAML file with options (default: starling.config.yaml, .yml or .json, if there)",
      ).helpGroup("Options:"),
    )
    .addHelpText(
      "after",
      "\nEach option can also be an environment variable (--max-frame-bytes is STARLING_MAX_FRAME_BYTES)" +
        "\nor a line of the config file (maxFrameBytes: 1024). Flags win over the environment, it over the file." +
        "\nGive secrets by environment or file: flags are seen by every user of the machine.",
    );
}

const FLAGS: ReadonlySet<string> = new Set(
  optionNames.flatMap((name) => [flagName(name), flagName(name).replace("--", "--no-")]),
);

/** commander takes whatever comes next as the value. */
function refuseFlagAsValue(flag: string, value: string): void {
  if (FLAGS.has(value.split("=", 1)[0] ?? "")) {
    throw new InvalidArgumentError(`${flag} has no value: ${value} comes right behind it`);
  }
}

function footnote(name: OptionName): string {
  const { unit } = optionOf(name);
  return `(${unit === undefined ? "" : `${unit}, `}default: ${defaultText(name)})`;
}
