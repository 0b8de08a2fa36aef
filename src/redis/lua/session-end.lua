-- Deletes sessions, each only if its owner and generation are the caller's.
-- KEYS[i] session, all in one slot (session-save.lua says what it holds)
-- ARGV[2i-1] owner   ARGV[2i] generation
-- Returns how many were deleted.
local ended = 0
for i, key in ipairs(KEYS) do
  local held = redis.call("GET", key)
  if held then
    local owner, generation = string.match(held, "^(%S+) (%d+) ")
    if owner == ARGV[2 * i - 1] and generation == ARGV[2 * i] then
      ended = ended + redis.call("DEL", key)
    end
  end
end
return ended
