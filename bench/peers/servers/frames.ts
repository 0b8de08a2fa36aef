/** The frames of PROTOCOL.md that a JSON client of Starling gets, field for field and as long, and what it sends. */

import { randomBytes, randomInt } from "node:crypto";

export interface Command {
  readonly action: string;
  readonly channel: string;
  readonly content?: unknown;
  readonly id?: number | string;
}

export interface Message {
  readonly channel: string;
  readonly content: unknown;
  readonly from: { readonly connection: string };
}

const BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz";

export const nodeId = `n-${Array.from({ length: 6 }, () => BASE36.charAt(randomInt(36))).join("")}`;
const idPrefix = `${nodeId}.${Math.floor(Date.now() / 1000).toString(36)}`;
let connections = 0;

export const nextConnectionId = (): string => `${idPrefix}${(connections++).toString(36)}`;

const secret = randomBytes(16).toString("base64url");

export const welcomeFrame = (connection: string): string =>
  JSON.stringify({
    type: "welcome",
    node: nodeId,
    connection,
    session: connection,
    resume: `${connection}.${secret}`,
    heartbeat: { intervalMs: 30_000, timeoutMs: 10_000 },
    limits: { frameBytes: 65_536, channels: 100, messagesPerSecond: 0, bytesPerSecond: 0 },
    authenticate: false,
  });

export const messageFrame = ({ channel, content, from }: Message): string =>
  JSON.stringify({ type: "message", channel, content, from });

export const replyFrame = (id: number | string, channel?: string): string =>
  JSON.stringify({ type: "reply", id, channel });

export const errorFrame = (message: string): string =>
  JSON.stringify({ type: "error", code: "bad_request", message });
