-- Deletes the connections hash of a node without a lease.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- Returns how many connections it held, or -1 if the node lives after all.
if redis.call("EXISTS", KEYS[1]) == 1 then
  return -1
end
local held = redis.call("HLEN", KEYS[2])
redis.call("UNLINK", KEYS[2])
return held
