-- Creates or updates sessions, each only if nobody else owns it.
-- A session is the string "owner generation secret json": the id of the connection that
-- owns it ("-" once released), how often it was taken, the SHA-256 of the secret that
-- takes it next, and the SessionRecord without its id.
-- KEYS[i] session, all in one slot
-- ARGV[6i-5] owner that it must have   ARGV[6i-4] generation that it must have
-- ARGV[6i-3] owner from now on         ARGV[6i-2] secret
-- ARGV[6i-1] ttl, ms                   ARGV[6i]   json
-- Returns per session 1 saved, 0 superseded.
local results = {}
for i, key in ipairs(KEYS) do
  local at = 6 * i - 5
  local held = redis.call("GET", key)
  local owner, generation
  if held then
    owner, generation = string.match(held, "^(%S+) (%d+) ")
  end
  if not held or (owner == ARGV[at] and generation == ARGV[at + 1]) then
    local value = ARGV[at + 2] .. " " .. ARGV[at + 1] .. " " .. ARGV[at + 3] .. " " .. ARGV[at + 5]
    redis.call("SET", key, value, "PX", ARGV[at + 4])
    results[i] = 1
  else
    results[i] = 0
  end
end
return results
