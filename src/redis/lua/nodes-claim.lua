-- Takes a dead node off the list, unless it announced itself since the caller looked.
-- KEYS[1] nodes, a sorted set
-- ARGV[1] node id
-- ARGV[2] the score that the caller saw
-- Returns 1 for exactly one of those that try: it reaps.
local score = redis.call("ZSCORE", KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then
  return 0
end
return redis.call("ZREM", KEYS[1], ARGV[1])
