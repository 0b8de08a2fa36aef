-- Writes a batch into the connections hash of a node whose lease stands.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- ARGV[2] hash ttl, ms
-- ARGV[3] number of ids to remove
-- ARGV[4..] those ids, then id, JSON, id, JSON ...
-- At most 2000 arguments from ARGV[4] on: Lua's stack ends near 8000.
-- Returns 1, or 0 if the lease is gone or another's (nothing is written then).
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return 0
end
local removed = tonumber(ARGV[3])
if removed > 0 then
  redis.call("HDEL", KEYS[2], unpack(ARGV, 4, 3 + removed))
end
if #ARGV > 3 + removed then
  redis.call("HSET", KEYS[2], unpack(ARGV, 4 + removed, #ARGV))
end
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return 1
