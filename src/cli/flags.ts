/** The option table as commander's options. */

import { Option, type Command } from "commander";
import { defaultText } from "../config/markdown.js";
import { flagName, optionNames, optionOf, type OptionName } from "../config/options.js";

/** What every command that starts or shows a node takes. */
export function addConfigFlags(command: Command): Command {
  for (const name of optionNames) {
    const declared = optionOf(name);
    const { placeholder } = declared.kind;
    const flag = placeholder === undefined ? flagName(name) : `${flagName(name)} ${placeholder}`;
    const option = new Option(flag, `${declared.description} ${footnote(name)}`).helpGroup(
      `${declared.group}:`,
    );
    // Given twice, a list grows; anything else is what was said last.
    if (Array.isArray(declared.default)) {
      option.argParser((value: string, before?: string) =>
        before === undefined ? value : `${before},${value}`,
      );
    }
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
        "JSON or YAML file with options (default: starling.config.yaml or .json, if there)",
      ).helpGroup("Options:"),
    )
    .addHelpText(
      "after",
      "\nEach option can also be an environment variable (--max-frame-bytes is STARLING_MAX_FRAME_BYTES)" +
        "\nor a line of the config file (maxFrameBytes: 1024). Flags win over the environment, it over the file." +
        "\nGive secrets by environment or file: flags are seen by every user of the machine.",
    );
}

function footnote(name: OptionName): string {
  const { unit } = optionOf(name);
  return `(${unit === undefined ? "" : `${unit}, `}default: ${defaultText(name)})`;
}
