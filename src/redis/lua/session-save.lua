-- Creates or updates sessions, each only if nobody else owns it.
-- A session is the string "owner generation secret json": the id of the connection that
-- owns it ("-" once released), how often it was taken, the SHA-256 of the secret that
-- takes it next, and the SessionRecord without its id.
-- KEYS[i] session, all in one slot
-- ARGV[1] ttl, ms
-- ARGV[2] a line for each key, in their order: owner and generation that it must have,
--         then what it is from now on
-- Returns a text with a digit for each: 1 saved, 0 superseded.
local results = {}
for line in string.gmatch(ARGV[2], "[^\n]+") do
  local at = #results + 1
  local owner, generation, value = string.match(line, "^(%S+ )(%d+ )(.*)$")
  local must = owner .. generation
  local held = redis.call("GET", KEYS[at])
  if not held or string.sub(held, 1, #must) == must then
    redis.call("SET", KEYS[at], value, "PX", ARGV[1])
    results[at] = "1"
  else
    results[at] = "0"
  end
end
return table.concat(results)
