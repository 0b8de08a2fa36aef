-- Gives a session to another connection of the same user, once: its secret and generation change.
-- KEYS[1] session (session-save.lua says what it holds)
-- ARGV[1] SHA-256 of the secret that was shown
-- ARGV[2] new owner
-- ARGV[3] SHA-256 of the secret that takes it next
-- ARGV[4] ttl, ms
-- ARGV[5] "1": the new owner asked before with the same secret and had no answer, so it may own it already
-- ARGV[6] app, ARGV[7] user of the new owner; empty: anonymous
-- Returns {generation, former owner, json}, or -1 wrong secret, -2 no such session, -3 another user's: nothing changed.
local held = redis.call("GET", KEYS[1])
if not held then
  return -2
end
local owner, generation, secret, json = string.match(held, "^(%S+) (%d+) (%S+) (.*)$")
if ARGV[5] == "1" and owner == ARGV[2] then
  redis.call("PEXPIRE", KEYS[1], ARGV[4])
  return { tonumber(generation), "-", json }
end
if secret ~= ARGV[1] then
  return -1
end
local kept = cjson.decode(json)
if kept.app ~= ARGV[6] or (kept.userId ~= cjson.null and kept.userId ~= ARGV[7]) then
  return -3
end
generation = tonumber(generation) + 1
redis.call("SET", KEYS[1], ARGV[2] .. " " .. generation .. " " .. ARGV[3] .. " " .. json, "PX", ARGV[4])
return { generation, owner, json }
