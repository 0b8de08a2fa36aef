-- Takes the lease of a node id unless another incarnation holds it, and empties the
-- node's connections hash: what it held is of a registration before this one.
-- A lease value is JSON with "incarnation" (one start of a node) and "registration" (from 1,
-- each attempt one more): a claim that Redis sees late does not undo a later one.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- ARGV[2] lease ttl, ms
-- Returns {-1 if taken, else the ms that the lease which stands still has; the server's incarnation}.
local incarnation = string.match(redis.call("INFO", "replication"), "master_replid:(%x+)") or "-"
local held = redis.call("GET", KEYS[1])
if held then
  local old, new = cjson.decode(held), cjson.decode(ARGV[1])
  if old.incarnation ~= new.incarnation or old.registration > new.registration then
    return { math.max(redis.call("PTTL", KEYS[1]), 0), incarnation }
  end
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
redis.call("UNLINK", KEYS[2])
return { -1, incarnation }
