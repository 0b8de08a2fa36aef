-- Extends a lease that still stands and is the caller's, and with it the hash's life.
-- KEYS[1] lease
-- KEYS[2] connections hash, in the slot of the lease
-- ARGV[1] lease value
-- ARGV[2] lease ttl, ms
-- ARGV[3] hash ttl, ms
-- ARGV[4] the server's incarnation when the lease was claimed
-- Returns 1, 0 if the lease is gone or another's, or -1 if the server is not what it was: restarted, or a
-- replica that took over, it may have the lease and lack what was written since. Nothing is extended then.
if string.match(redis.call("INFO", "replication"), "master_replid:(%x+)") ~= ARGV[4] then
  return -1
end
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
redis.call("PEXPIRE", KEYS[2], ARGV[3])
return 1
