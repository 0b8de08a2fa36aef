/** What Redis keeps of sessions, read without the code under test. */

import { until } from "./eventually.js";
import type { Frame } from "./raw-client.js";
import type { RedisServer } from "./redis-server.js";

interface Welcomed {
  readonly welcome: Frame;
}

/** Of a client's session as Redis has it now; undefined: it has none. */
export async function channelsInRedis(
  redis: RedisServer,
  { welcome }: Welcomed,
): Promise<string[] | undefined> {
  const look = redis.client();
  const [key] = await look.keys(`*session:*${welcome["session"] as string}`);
  const value = key === undefined ? null : await look.get(key);
  if (value === null) return undefined;
  return (JSON.parse(value.slice(value.indexOf("{"))) as { channels: string[] }).channels;
}

/** Resolves when a client's session is in Redis with these channels, as it is some 20 ms after they were subscribed. */
export async function sessionSaved(
  redis: RedisServer,
  client: Welcomed,
  ...channels: string[]
): Promise<void> {
  await until(
    "the session in Redis",
    async () => (await channelsInRedis(redis, client))?.join() === channels.join(),
  );
}
