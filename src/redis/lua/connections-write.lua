-- Writes a batch into the connections hash of a node whose lease stands.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- ARGV[2] hash ttl, ms
-- ARGV[3] a line for each connection to write: its id, a space, its JSON
-- ARGV[4..] ids to remove
-- At most 1000 lines and 1000 ids: Lua's stack ends near 8000.
-- Returns 1, or 0 if the lease is gone or another's (nothing is written then).
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return 0
end
if #ARGV > 3 then
  redis.call("HDEL", KEYS[2], unpack(ARGV, 4, #ARGV))
end
local fields = {}
for id, json in string.gmatch(ARGV[3], "(%S+) ([^\n]+)\n") do
  fields[#fields + 1] = id
  fields[#fields + 1] = json
end
if #fields > 0 then
  redis.call("HSET", KEYS[2], unpack(fields))
end
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return 1
