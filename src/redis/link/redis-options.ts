/** What Starling must know to connect to Redis. */

import type { RedisUse } from "./needed-commands.js";

export interface RedisOptions {
  /**
   * `redis://[user:password@]host[:port][/db]`; `unix://[user:password@]/path[?db=number]`;
   * `redis+sentinel://[user:password@]host[:port],.../master-name[/db]`;
   * `redis+cluster://[user:password@]host[:port],...`. `rediss` for TLS.
   */
  readonly url: string;
  /**
   * Begins every key and channel: "ws:" by default. Redis's channels ignore the
   * database number, so two fleets on one Redis need two prefixes.
   */
  readonly prefix: string;
  /** After this long without an answer a command counts as lost. */
  readonly commandTimeoutMs: number;
  /** false: a connection counts as ready while Redis still loads its data. */
  readonly enableReadyCheck?: boolean | undefined;
  /** For the TCP connection alone; commandTimeoutMs if absent. */
  readonly connectTimeoutMs?: number | undefined;
  readonly tls?: RedisTls | undefined;
  /** What its user must be allowed besides what every node needs; everything if absent. */
  readonly use?: RedisUse | undefined;
  /** Of the Sentinels; the URL's is that of the Redis they watch. */
  readonly sentinelPassword?: string | undefined;
}

/** PEM. */
export interface RedisTls {
  /** Who signed the server's certificate, if no public authority did. */
  readonly ca?: string | undefined;
  /** This node's own certificate and its key, where Redis asks for one. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name in the server's certificate, if it is not the host's. */
  readonly serverName?: string | undefined;
}
