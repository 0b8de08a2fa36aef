/** docs/configuration.md, made from the option table. */

import { fieldNames, fieldOf } from "./apps.js";
import { ruleNames, rules, type Rule } from "./namespaces.js";
import type { Field } from "./option.js";
import { ENV_PREFIX, envName, flagName, GROUPS, optionNames, optionOf, type OptionName } from "./options.js";
import { pusherFieldNames, pusherFieldOf } from "./pusher.js";

/** The default as text, with what it means where the value alone does not say it. */
export function defaultText(name: OptionName): string {
  const { default: value, defaultText: text } = optionOf(name);
  return text ?? String(value);
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

export function configurationMarkdown(): string {
  const secretNames = optionNames.filter((name) => optionOf(name).secret !== undefined);
  const sections = GROUPS.map((group) => {
    const rows = optionNames
      .filter((name) => optionOf(name).group === group)
      .map((name) => {
        const { unit, description, kind, reason } = optionOf(name);
        return `| \`${name}\` | ${cell(defaultText(name))} | ${unit ?? ""} | ${cell(description)} | ${cell(kind.allowed)} | ${cell(reason)} |`;
      });
    return [
      `## ${group}`,
      "",
      "| Option | Default | Unit | What it does | Allowed | Why this default |",
      "| --- | --- | --- | --- | --- | --- |",
      ...rows,
      "",
    ].join("\n");
  });
  const ruleRows = ruleNames.map((name) => {
    const { unit, description, kind, reason, default: value }: Rule = rules[name];
    return `| \`${name}\` | ${String(value)} | ${unit ?? ""} | ${cell(description)} | ${cell(kind.allowed)} | ${cell(reason)} |`;
  });
  const fieldRow = (name: string, { unit, description, kind, default: value, defaultText }: Field): string =>
    `| \`${name}\` | ${defaultText ?? (value === undefined ? "none" : JSON.stringify(value))} | ${unit ?? ""} | ${cell(description)} | ${cell(kind.allowed)} |`;
  const fieldRows = fieldNames.map((name) => fieldRow(name, fieldOf(name)));
  const pusherRows = pusherFieldNames.map((name) => fieldRow(name, pusherFieldOf(name)));
  return `# Configuration

<!-- Made by \`starling config --markdown\`: change src/config/table.ts instead. -->

Each option can be given in four places; the first of these that has it wins:

1. a flag: \`maxFrameBytes\` is \`${flagName("maxFrameBytes")} 1024\`; switches are \`--demo\` and
   \`--no-demo\`, or \`--demo=true\` and \`--demo=false\`. Given twice, the last one counts; lists grow
2. an environment variable: \`${envName("maxFrameBytes")}=1024\`; one that is empty counts as not set, but an empty
   \`${envName("redis")}\` is refused where NODE_ENV=production: the node would be alone without a word
3. a config file, JSON or YAML: \`maxFrameBytes: 1024\`. It is the file that \`--config\` or \`${ENV_PREFIX}CONFIG\`
   names, else the one of \`starling.config.yaml\`, \`.yml\` and \`.json\` in the working directory; two are refused.
   A name without a value (\`redis:\`) is as an empty variable
4. the default

Lists are separated by commas, in a config file they may be lists. Secrets (${secretNames.map((name) => `\`${name}\``).join(", ")})
can also stand in a file of their own that a variable with \`_FILE\` names, as \`${envName("jwtSecret")}_FILE=/run/secrets/jwt\`;
as a flag, every user of the machine can read them. A name that does not exist or a value that is not allowed is
refused at the start. \`starling config\` prints what is in force and where each value came from.

${sections.join("\n")}
## Rules of a namespace

The channel \`chat:lobby\` is in the namespace \`chat\`. Channels without a colon, and those whose namespace is not
listed, have the defaults: they deliver, and keep nothing. In a config file:

\`\`\`yaml
namespaces:
  chat: { historySize: 100, historyTtlMs: 600000, recovery: true, presence: true, joinLeave: true, slowReader: repair }
  price: { historySize: 1, replayLast: true, slowReader: latest, publish: server }
\`\`\`

A name that ends with \`*\` is a prefix of whole channel names instead: \`private-chat-*: { historySize: 50 }\` gives history to
\`private-chat-7\`. Of several prefixes that fit, the longest has precedence, and any has over a namespace. Nothing is merged: a
channel has the rules of one entry.

As a flag or variable the same is JSON: \`${flagName("namespaces")} '{"chat":{"historySize":100,"recovery":true}}'\`. All nodes
of a fleet need the same rules.

| Rule | Default | Unit | What it does | Allowed | Why this default |
| --- | --- | --- | --- | --- | --- |
${ruleRows.join("\n")}

## Settings of an app

What an entry of \`apps\` may have. It takes over nothing from the top level, whose options are those of the app \`main\`.
[apps.md](apps.md) says what is apart and how apps are changed while a node runs. In a config file:

\`\`\`yaml
apps:
  - id: shop
    jwtSecret: at-least-32-bytes-of-a-secret-text
    apiKeys: [key-of-the-shop]
    namespaces:
      chat: { historySize: 100, recovery: true, presence: true }
\`\`\`

As a flag or variable the same list is JSON; \`${envName("apps")}_FILE\` names a file with it.

| Setting | Default | Unit | What it does | Allowed |
| --- | --- | --- | --- | --- |
${fieldRows.join("\n")}

## Settings of Pusher

What \`pusher\` may have, in an entry of \`apps\` and at the top level: there they are those of \`main\` and of the app of
\`appId\`. What is not given is as Pusher has it. They hold for the clients and back ends that come with a key of the app. In a
config file:

\`\`\`yaml
pusher: { clientEvents: true, maxPresenceMembers: 500 }
\`\`\`

| Setting | Default | Unit | What it does | Allowed |
| --- | --- | --- | --- | --- |
${pusherRows.join("\n")}
`;
}
