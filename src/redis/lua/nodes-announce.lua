-- Lists a node as registered, scored by Redis's own clock: those of nodes may differ.
-- KEYS[1] nodes, a sorted set
-- ARGV[1] node id
-- ARGV[2] ttl of the set, ms: when no node lives to clear it
local now = redis.call("TIME")
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call("ZADD", KEYS[1], ms, ARGV[1])
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return 1
