/** ioredis's way to a master by Sentinels, whose own troubles it would print, or keep to itself. */

import { SentinelConnector, type Redis, type SentinelConnectionOptions } from "ioredis";

/** What ioredis declares private: each connection to a Sentinel is made by it. */
interface Connecting {
  connectToSentinel(...how: unknown[]): Redis;
}

/** @param onError  hears each error of a connection to a Sentinel */
export function sentinelConnector(
  onError: (error: Error) => void,
): new (options: unknown) => SentinelConnector {
  return class extends SentinelConnector {
    constructor(options: unknown) {
      super(options as SentinelConnectionOptions);
      const connecting = this as unknown as Connecting;
      const connect = connecting.connectToSentinel.bind(this);
      connecting.connectToSentinel = (...how) => {
        const client = connect(...how);
        client.on("error", onError);
        return client;
      };
    }
  };
}
