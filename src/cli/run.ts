/** From arguments to an exit code. */

import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { ConfigError, unknownFlag } from "../config/load.js";
import { quote } from "../core/errors.js";
import { didYouMean } from "../core/suggest.js";
import { appCreateCommand } from "./app-create.js";
import { clusterCommand } from "./cluster.js";
import { configCommand } from "./config-command.js";
import { addConfigFlags } from "./flags.js";
import { serveCommand } from "./serve.js";
import { StartError } from "./start-error.js";

export const EXIT = { failed: 1, usage: 2 } as const;

/**
 * Runs a command line, without the program's own name.
 * @returns the exit code; undefined while a started node runs, which ends the process itself
 */
export async function run(args: readonly string[]): Promise<number | undefined> {
  // `starling serve | head -1`: a reader that left is no reason to fall over.
  process.stdout.on("error", ignoreClosedOutput);
  process.stderr.on("error", ignoreClosedOutput);
  const program = createProgram();
  try {
    if (args.length === 0) {
      process.stdout.write(program.helpInformation());
      return 0;
    }
    await program.parseAsync(args, { from: "user" });
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError) return usageExit(error, program, args);
    if (error instanceof ConfigError) return complain(error.message, EXIT.usage);
    if (error instanceof StartError) return complain(error.message, EXIT.failed);
    throw error;
  }
}

function createProgram(): Command {
  const program = new Command("starling")
    .description("A real-time edge node: WebSocket channels, joined by Redis.")
    .version(packageVersion(), "-v, --version")
    // Both are inherited by the commands below. Errors are worded in usageExit.
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .showSuggestionAfterError(false)
    .addHelpText("after", "\n`starling serve --help` lists every option.");
  addConfigFlags(program.command("serve").description("run one node"))
    // For whatever starts nodes as child processes: ends as on SIGTERM when the IPC channel closes.
    .addOption(new Option("--exit-with-parent").hideHelp())
    .addOption(new Option("--worker <number>").hideHelp())
    .action(serveCommand);
  addConfigFlags(
    program
      .command("cluster")
      .description(
        "run a private Redis, several nodes and one address in front of them on this machine, to try things out",
      )
      .addOption(
        new Option(
          "--nodes <n>",
          "how many nodes, behind one address at --port and --api-port: node N takes the ports 10 x N above those",
        ).default("3", "3"),
      ),
  ).action(clusterCommand);
  addConfigFlags(
    program
      .command("config")
      .description("print the configuration in force and where each value came from, secrets hidden")
      .option("--json", "as JSON")
      .option("--markdown", "print the reference of all options instead, as in docs/configuration.md"),
  ).action(configCommand);
  program
    .command("app")
    .description("make applications for Pusher's clients and back ends")
    .command("create")
    .description("print a new app's id, key and secret, and what to write where; nothing is changed")
    .option("--id <id>", "its id (default: digits, by chance)")
    .option("--host <host>", "where clients and back ends reach the nodes", "127.0.0.1")
    .option("--port <n>", "and at which port", "8000")
    .option("--tls", "by https and wss")
    .option("--json", "print id, key and secret alone, as JSON")
    .action(appCreateCommand);
  return program;
}

/** What the arguments name, as far as they do: a command of a command is named by both words. */
function commandOf(program: Command, args: readonly string[]): Command | undefined {
  const named = program.commands.find((candidate) => candidate.name() === args[0]);
  return named?.commands.find((candidate) => candidate.name() === args[1]) ?? named;
}

function nameOf(command: Command): string {
  const { parent } = command;
  return parent?.parent ? `${parent.name()} ${command.name()}` : command.name();
}

function usageExit(error: CommanderError, program: Command, args: readonly string[]): number {
  if (error.exitCode === 0) return 0;
  const named = /'([^']*)'/.exec(error.message)?.[1] ?? "";
  const command = commandOf(program, args);
  const { commands } = command?.commands.length ? command : program;
  const names = commands.map((candidate) => candidate.name());
  const known = `commands are ${names.join(", ")}`;
  if (error.code === "commander.unknownOption") {
    const flag = named.split("=", 1)[0] ?? named;
    return complain(wordUnknownOption(flag, command, program), EXIT.usage);
  }
  if (error.code === "commander.excessArguments" && command !== undefined) {
    const [argument = ""] = command.args;
    return complain(
      `unexpected argument ${quote(argument)}: ${nameOf(command)} takes options alone, which begin with --`,
      EXIT.usage,
    );
  }
  if (error.code === "commander.help" && commands !== program.commands) {
    return complain(`${args[0]} needs a command behind it: ${known}`, EXIT.usage);
  }
  if (error.code === "commander.help") {
    const wanted = args[1] ?? "";
    return complain(`unknown command ${wanted}: ${didYouMean(wanted, names, known)}`, EXIT.usage);
  }
  if (error.code === "commander.unknownCommand") {
    return complain(`unknown command ${named}: ${didYouMean(named, names, known)}`, EXIT.usage);
  }
  // Of an argument that a parser refused commander says what it was, which may be a secret.
  const message = error.message.replace(/^error: (option .* argument '.*' is invalid\. )?/s, "");
  return complain(message, EXIT.usage);
}

function wordUnknownOption(flag: string, command: Command | undefined, program: Command): string {
  const flagsOf = ({ options }: Command): string[] => options.map(({ long }) => long ?? "");
  if (command?.commands.length === 0) {
    const known = flagsOf(command);
    // commander does not know --no-demo=false for --no-demo.
    if (!known.includes(flag)) {
      if (known.includes("--config")) return unknownFlag(flag, known);
      return `unknown option ${flag}: ${didYouMean(flag, known, `see starling ${nameOf(command)} --help`)}`;
    }
    return flag.startsWith("--no-")
      ? `${flag} takes no value: write ${flag}, or ${flag.replace("--no-", "--")}=true`
      : `${flag} takes no value`;
  }
  const every = program.commands.flatMap((candidate) => [candidate, ...candidate.commands]);
  const owner = every.find((candidate) => flagsOf(candidate).includes(flag));
  return owner === undefined
    ? `unknown option ${flag}: ${didYouMean(flag, [...flagsOf(program), "--help"], "see starling --help")}`
    : `${flag} comes behind a command: starling ${nameOf(owner)} ${flag} ...`;
}

function complain(message: string, exitCode: number): number {
  for (const line of message.split("\n")) process.stderr.write(`starling: ${line}\n`);
  return exitCode;
}

function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** EIO: a terminal that was closed. */
function ignoreClosedOutput(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
}
