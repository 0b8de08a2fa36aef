-- Extends a lease that still stands and is the caller's, and with it the hash's life.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- ARGV[2] lease ttl, ms
-- ARGV[3] hash ttl, ms
-- Returns 1, or 0 if the lease is gone or another's.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
redis.call("PEXPIRE", KEYS[2], ARGV[3])
return 1
