/** What each node of a fleet is asked and told about clients of each other one, whatever versions the two are of. */

import { Asker } from "./asker.js";
import { until } from "./clients.js";
import type { FleetNode } from "./fleet.js";

export interface BothWaysOptions {
  readonly nodes: readonly FleetNode[];
  readonly secret: string;
  /** That has presence, and in which nobody is. */
  readonly channel: string;
  /** A node as a trouble names it. */
  readonly describe: (node: FleetNode) => string;
  readonly trouble: (what: string) => void;
}

/** A client of a node that does nothing but to be there. */
interface Witness {
  readonly user: string;
  readonly node: FleetNode;
  asker: Asker;
}

/** The body of an answer, or what is wrong with it. */
type Answer =
  { readonly [field: string]: unknown; readonly problem?: undefined } | { readonly problem: string };

/** A killed node is named as missing, and its members are present, until its lease is over and a reaper passed. */
const LISTED_MS = 40_000;
const COMMAND_MS = 10_000;
const ANSWER_MS = 5_000;
const DISCONNECTED = 4502;

/** @returns how many things were looked at; what was not as it must be is a trouble each */
export async function checkBothWays(options: BothWaysOptions): Promise<number> {
  const { nodes, channel, describe, trouble } = options;
  let checks = 0;
  /** Until it gives no reason why not, or the time is over. */
  const check = async (deadlineMs: number, look: () => Promise<string | undefined>): Promise<void> => {
    checks++;
    let problem: string | undefined;
    const isSo = async (): Promise<boolean> => (problem = await look()) === undefined;
    if (!(await until(isSo, deadlineMs))) trouble(problem!);
  };
  const witnesses: Witness[] = [];
  try {
    for (const node of nodes) witnesses.push(await place(node, options));
    for (const asked of nodes) {
      for (const look of listings(asked, witnesses, channel)) {
        await check(LISTED_MS, async () => {
          const problem = await look();
          return problem === undefined ? undefined : `${describe(asked)}: ${problem}`;
        });
      }
    }
    for (const asked of nodes) {
      for (const witness of witnesses) {
        if (witness.node === asked) continue;
        for (const [name, command] of Object.entries(COMMANDS)) {
          checks++;
          const problem = await command(asked, witness, options);
          if (problem === undefined) continue;
          trouble(`${name} at ${describe(asked)} for a client of ${describe(witness.node)}: ${problem}`);
        }
      }
    }
  } finally {
    for (const { asker } of witnesses) asker.close();
  }
  return checks;
}

async function place(node: FleetNode, { secret, channel }: BothWaysOptions): Promise<Witness> {
  const user = `witness-${node.id}-of-${channel}`;
  const witness: Witness = { user, node, asker: await Asker.open(node.wsUrl, user, secret) };
  const answer = await witness.asker.ask({ action: "subscribe", channel });
  if (answer?.type === "reply") return witness;
  throw new Error(`${node.name} does not let a witness subscribe: ${JSON.stringify(answer)}`);
}

/** Each gives what is not so. */
function listings(
  asked: FleetNode,
  witnesses: readonly Witness[],
  channel: string,
): (() => Promise<string | undefined>)[] {
  const name = encodeURIComponent(channel);
  const users = witnesses.map(({ user }) => user).sort();
  const own = witnesses.find(({ node }) => node === asked)!;
  const membersAre = (what: string, members: unknown): string | undefined => {
    const told = ((members ?? []) as { user?: string }[]).map(({ user }) => user ?? "-").sort();
    return told.join() === users.join()
      ? undefined
      : `${what} names ${told.join(", ")} and not ${users.join(", ")}`;
  };
  return [
    async () => {
      const answer = await ask(asked, "GET", `/v1/channels/${name}/presence?limit=1000`);
      return answer.problem ?? membersAre("presence of the server API", answer["members"]);
    },
    async () => {
      const answer = await own.asker.ask({ action: "presence", channel, limit: 1_000 });
      return membersAre("presence of a client", answer?.["members"]);
    },
    async () => {
      const answer = await ask(asked, "GET", `/v1/channels?prefix=${name}`);
      if (answer.problem !== undefined) return answer.problem;
      const all = answer["channels"] as { channel: string; subscribers: number }[];
      return subscribersAre(all.find((one) => one.channel === channel)?.subscribers, users.length);
    },
    async () => {
      const answer = await ask(asked, "GET", `/v1/channels/${name}`);
      return answer.problem ?? subscribersAre(answer["subscribers"], users.length);
    },
    async () => {
      const answer = await ask(asked, "GET", "/v1/totals");
      if (answer.problem !== undefined || answer["nodes"] === witnesses.length) return answer.problem;
      return `totals count ${String(answer["nodes"])} nodes of ${witnesses.length}`;
    },
    ...witnesses.map(({ user, node }) => async () => {
      const answer = await ask(asked, "GET", `/v1/users/${encodeURIComponent(user)}/connections`);
      if (answer.problem !== undefined) return answer.problem;
      const at = (answer["connections"] as { node: string }[]).map((connection) => connection.node);
      return at.join() === node.id
        ? undefined
        : `${user} is listed at [${at.join(", ")}] and not at ${node.id}`;
    }),
  ];
}

function subscribersAre(told: unknown, expected: number): string | undefined {
  return told === expected
    ? undefined
    : `the list of channels has ${String(told)} subscribers of ${expected}`;
}

/** Each is told to one node and acts on the client of another. @returns what it did not do */
const COMMANDS: Readonly<
  Record<
    string,
    (asked: FleetNode, witness: Witness, options: BothWaysOptions) => Promise<string | undefined>
  >
> = {
  async unsubscribe(asked, { user, asker }, { channel }) {
    const before = asker.told;
    const { problem } = await tell(asked, user, "unsubscribe", { channel });
    if (problem !== undefined) return problem;
    if (!(await asker.hears("unsubscribed", channel, before, COMMAND_MS))) return "the client was not told";
    const again = await asker.ask({ action: "subscribe", channel });
    return again?.type === "reply" ? undefined : `it cannot subscribe again: ${JSON.stringify(again)}`;
  },

  async permit(asked, { user, asker }, { channel }) {
    const sends = async (type: string): Promise<boolean> =>
      (await asker.ask({ action: "send", channel, content: user }))?.type === type;
    for (const [publish, type] of [
      [[], "error"],
      [["*"], "reply"],
    ] as const) {
      const { problem } = await tell(asked, user, "permit", { channels: ["*"], publish });
      if (problem !== undefined) return problem;
      if (!(await until(() => sends(type), COMMAND_MS)))
        return `with ${publish.length} patterns nothing changed`;
    }
    return undefined;
  },

  async disconnect(asked, witness, options) {
    const { user, asker } = witness;
    const { problem } = await tell(asked, user, "disconnect", {});
    if (problem !== undefined) return problem;
    await until(() => asker.closeCode !== undefined, COMMAND_MS);
    const { closeCode = "nothing" } = asker;
    witness.asker = (await place(witness.node, options)).asker;
    return closeCode === DISCONNECTED ? undefined : `closed by ${closeCode} and not by ${DISCONNECTED}`;
  },
};

async function tell(asked: FleetNode, user: string, command: string, body: object): Promise<Answer> {
  return ask(asked, "POST", `/v1/users/${encodeURIComponent(user)}/${command}`, body);
}

/** An answer in which nodes are missing is no answer. */
async function ask(
  { apiUrl }: FleetNode,
  method: "GET" | "POST",
  path: string,
  body?: object,
): Promise<Answer> {
  const what = `${method} ${path}`;
  try {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = (await response.json()) as { readonly [field: string]: unknown };
    if (!response.ok) return { problem: `${what} was answered ${response.status} ${JSON.stringify(answer)}` };
    const missing = (answer["missing"] ?? []) as string[];
    return missing.length === 0 ? answer : { problem: `${what} was answered without ${missing.join(", ")}` };
  } catch (error) {
    return { problem: `${what} was not answered: ${String(error)}` };
  }
}
