import type { DrainOptions } from "./drain.js";
import type { RateLimits } from "./rate-limit.js";

/** What core is told to do; node.ts fills it from the config, which has defaults and reasons. */
export interface EdgeOptions extends DrainOptions {
  readonly nodeId: string;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly maxConnections: number;
  /** 0: no limit. */
  readonly maxConnectionsPerIp: number;
  /** Upgrades a second, sustained, and at once; 0: no limit. */
  readonly upgradeRate: number;
  readonly upgradeBurst: number;
  /** Connections that have yet to authenticate; 0: no limit. */
  readonly maxUnauthenticated: number;
  /** Percent of those limits that one address may use while they are half used up; 100: all. */
  readonly sharePerIpPercent: number;
  readonly maxFrameBytes: number;
  readonly maxChannelsPerConnection: number;
  /** Of the names of one connection's channels together. */
  readonly maxChannelNameBytes: number;
  readonly rate: RateLimits;
  /** Frames and bytes of one connection that may wait while a command of it does. */
  readonly maxPendingFrames: number;
  readonly maxPendingBytes: number;
  /** More bytes waiting for a client than this close it, or have it skipped; never more than twice as many wait. */
  readonly maxBufferedBytes: number;
  readonly connectTimeoutMs: number;
  /** Origins, or patterns of them; empty: any. */
  readonly origins: readonly string[];
  /** Whether clients without an Origin header, which are no browsers, are refused. */
  readonly originRequired: boolean;
  /** Channels with history are checked for something missing this often. */
  readonly positionCheckIntervalMs: number;
  /** false leaves holes as they are: how the fault kit shows that its checker sees them. */
  readonly repair: boolean;
  /** How long a frame may wait for a lapsed registration to stand again. */
  readonly registerTimeoutMs: number;
}
