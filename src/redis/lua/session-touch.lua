-- Extends the lives of sessions, each only if its owner and generation are the caller's.
-- KEYS[i] session, all in one slot (session-save.lua says what it holds)
-- ARGV[1] ttl, ms
-- ARGV[2i] owner   ARGV[2i+1] generation
-- Returns per session 1 extended, 0 superseded, -1 gone.
local results = {}
for i, key in ipairs(KEYS) do
  local held = redis.call("GET", key)
  if not held then
    results[i] = -1
  else
    local owner, generation = string.match(held, "^(%S+) (%d+) ")
    if owner == ARGV[2 * i] and generation == ARGV[2 * i + 1] then
      redis.call("PEXPIRE", key, ARGV[1])
      results[i] = 1
    else
      results[i] = 0
    end
  end
end
return results
