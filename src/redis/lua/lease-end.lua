-- Ends the caller's lease and deletes its connections hash.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- Returns 1, or 0 if the lease is another's (nothing is touched then).
local held = redis.call("GET", KEYS[1])
if held and held ~= ARGV[1] then
  return 0
end
redis.call("DEL", KEYS[1], KEYS[2])
return 1
