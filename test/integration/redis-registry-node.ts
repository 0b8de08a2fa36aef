/** A registry in a process of its own, to be stopped and killed: told what to do and telling what it saw by IPC. */

import { silentLog } from "../../src/core/log.js";
import { Stats } from "../../src/core/stats.js";
import { createRedisRegistry, type RedisRegistryOptions } from "../../src/redis/registry/registry.js";
import { FakeConnection } from "../support/fake-connection.js";

const options = JSON.parse(process.argv[2]!) as Pick<RedisRegistryOptions, "nodeId" | "redis" | "leaseTtlMs">;
const count = Number(process.argv[3]);

function tell(event: string): void {
  process.send?.({ event, atMs: Date.now() });
}

const live = new Map<string, FakeConnection>();
const registry = createRedisRegistry({
  sessionTtlMs: 120_000,
  ...options,
  stats: new Stats(),
  log: silentLog,
  notifySuperseded: () => undefined,
});
await registry.start({
  superseded(id) {
    const connection = live.get(id);
    live.delete(id);
    if (connection !== undefined) registry.remove(connection, false);
    tell(`superseded ${id}`);
  },
  registered: (registered) => tell(`registered ${registered}`),
  connections: () => live.values(),
  connection: (id) => live.get(id),
});
for (let at = 0; at < count; at++) {
  const connection = new FakeConnection(`${options.nodeId}.${at}`, [`room-${at}`]);
  live.set(connection.id, connection);
  registry.put(connection);
}
// As core asks before each frame.
setInterval(() => registry.checkLease(performance.now()), 5);
process.on("disconnect", () => process.exit(0));
