-- Extends the lives of sessions, each only if its owner and generation are the caller's.
-- KEYS[i] session, all in one slot (session-save.lua says what it holds)
-- ARGV[1] ttl, ms
-- ARGV[2] a line for each key, in their order: owner and generation that it must have, and a space
-- Returns a text with a digit for each: 1 extended, 0 superseded, 2 gone.
local results = {}
for must in string.gmatch(ARGV[2], "[^\n]+") do
  local at = #results + 1
  local held = redis.call("GET", KEYS[at])
  if not held then
    results[at] = "2"
  elseif string.sub(held, 1, #must) == must then
    redis.call("PEXPIRE", KEYS[at], ARGV[1])
    results[at] = "1"
  else
    results[at] = "0"
  end
end
return table.concat(results)
