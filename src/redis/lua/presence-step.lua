-- One step of a shard's presence: checks that the record is whole, writes a batch, takes out what
-- lapsed, tells the leaves that are due, and reads a channel if asked. All of it is one script in
-- one slot, so a leave is told by whoever takes it off the record: once, whoever else tries.
-- Time is Redis's own. A node that dies between two steps leaves nothing half done.
-- A person is "key\n=user" or, if anonymous, "key\n-connection"; no part holds a line end.
-- A person whose last connection went stays in the record with that connection, and is read as a member,
-- until the leave is told: whoever reads and then follows the events has the same as whoever followed them.
-- KEYS[1] members: sorted set, all scores 0, "person\nconnection" ("" if anonymous)
-- KEYS[2] expiries: sorted set, those members who are there by the ms at which each lapses
-- KEYS[3] users: sorted set, all scores 0, persons of whom a join was told and no leave yet
-- KEYS[4] due: sorted set, those of them whose last connection went, by the ms at which that is told
-- KEYS[5] epoch: string, "replid id.ms told": it began at that ms; `told` counts the events that were told since;
--   another "replid id.ms" means that the record was lost
-- ARGV[1] channel of the events   ARGV[2] life of a member, ms   ARGV[3] grace, ms
-- ARGV[4] ttl of the keys, ms: for when no node lives
-- ARGV[5] epoch that the caller knows, or ""   ARGV[6] id of the epoch if a new one begins
-- ARGV[7] how many lapsed and due ones to take at most
-- ARGV[8] "key\n" of the channel to read, or ""   ARGV[9] members to read at most
-- ARGV[10] PUBLISH, or SPUBLISH on a Cluster
-- ARGV[11..] items: a sign and "person\nconnection"
--   + joins   * is still there: joins unless the record was lost   - leaves
--   ~ is there: told only where the record began longer than a grace ago
--   ! leaves if its expiry is still the one that stands before the entry, with a space
-- Events go out as one message: "2 epoch number" with the number of the first, then per event three
-- lines: sign and key, person, connection.
-- Returns {epoch, told, what waits, connections, users, members}; what waits: "more" lapsed or are due than
-- were taken, "some" are here or leaving, "none"
local members, expiries, users, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local events = {}

-- After a restart or failover the tail may be missing, and eviction takes single keys.
local info = redis.pcall("INFO", "replication")
local replid = type(info) == "string" and string.match(info, "master_replid:(%w+)") or "-"
local epoch, told = string.match(redis.call("GET", KEYS[5]) or "", "^(%S+ %S+) (%d+)$")
local held = redis.call("ZCARD", members)
local leaving = redis.call("ZCARD", due)
local whole = epoch
  and string.match(epoch, "^(%S+)") == replid
  and held == redis.call("ZCARD", expiries) + leaving
  and (held > 0) == (redis.call("ZCARD", users) > 0)
if not whole then
  redis.call("UNLINK", members, expiries, users, due)
  epoch, told, leaving = replid .. " " .. ARGV[6] .. "." .. string.format("%.0f", now), 0, 0
  redis.call("SET", KEYS[5], epoch .. " 0")
end
local lost = ARGV[5] ~= "" and ARGV[5] ~= epoch
-- Whoever was cut off while the record was lost writes its members after the others told their clients what is in it.
local late = now - (tonumber(string.match(epoch, "%.(%d+)$")) or now) > tonumber(ARGV[3])

local function personOf(entry)
  return string.match(entry, "^([^\n]*\n[^\n]*)\n([^\n]*)$")
end

local function joined(entry, tell)
  if redis.call("ZADD", expiries, now + ARGV[2], entry) == 0 then
    return
  end
  local person, connection = personOf(entry)
  redis.call("ZADD", members, "NX", 0, entry)
  if redis.call("ZADD", users, "NX", 0, person) == 1 then
    if tell then
      events[#events + 1] = "+" .. person .. "\n" .. connection
    end
  elseif leaving > 0 and redis.call("ZREM", due, person) == 1 then
    leaving = leaving - 1
    -- Back: the connection that stood for the person goes.
    local both = redis.call("ZRANGEBYLEX", members, "[" .. person .. "\n", "(" .. person .. "\n\255", "LIMIT", 0, 2)
    for _, other in ipairs(both) do
      if other ~= entry then
        redis.call("ZREM", members, other)
      end
    end
  end
end

-- Its expiry is off already.
local function gone(entry)
  local person = personOf(entry)
  if not person or redis.call("ZLEXCOUNT", members, "[" .. person .. "\n", "(" .. person .. "\n\255") > 1 then
    redis.call("ZREM", members, entry)
    return
  end
  leaving = leaving + redis.call("ZADD", due, now + ARGV[3], person)
end

for at = 11, #ARGV do
  local sign, entry = string.sub(ARGV[at], 1, 1), string.sub(ARGV[at], 2)
  if sign == "-" then
    if redis.call("ZREM", expiries, entry) == 1 then
      gone(entry)
    elseif lost then
      -- Of a record that was lost all are missing: whoever is back within the grace has not left.
      redis.call("ZADD", members, "NX", 0, entry)
      redis.call("ZADD", users, "NX", 0, (personOf(entry)))
      gone(entry)
    end
  elseif sign == "!" then
    local expiry, of = string.match(entry, "^(%S+) (.*)$")
    if tonumber(redis.call("ZSCORE", expiries, of) or "-1") == tonumber(expiry) then
      redis.call("ZREM", expiries, of)
      gone(of)
    end
  else
    joined(entry, sign == "+" or (sign == "*" and not lost) or late)
  end
end

-- After the items: who is written again in this very step has not left.
local lapsed = redis.call("ZRANGEBYSCORE", expiries, "-inf", now, "LIMIT", 0, ARGV[7])
for _, entry in ipairs(lapsed) do
  redis.call("ZREM", expiries, entry)
  gone(entry)
end
local left = redis.call("ZRANGEBYSCORE", due, "-inf", now, "LIMIT", 0, ARGV[7])
for _, person in ipairs(left) do
  local last = redis.call("ZRANGEBYLEX", members, "[" .. person .. "\n", "(" .. person .. "\n\255", "LIMIT", 0, 1)[1]
  redis.call("ZREM", due, person)
  redis.call("ZREM", users, person)
  redis.call("ZREM", members, last)
  events[#events + 1] = "-" .. last
end
if #events > 0 then
  local first = string.format("%.0f", told + 1)
  told = string.format("%.0f", told + #events)
  redis.call("SET", KEYS[5], epoch .. " " .. told)
  redis.call(ARGV[10], ARGV[1], "2 " .. epoch .. " " .. first .. "\n" .. table.concat(events, "\n"))
end
if #ARGV >= 11 or #lapsed > 0 or #events > 0 or redis.call("PTTL", KEYS[5]) < ARGV[4] * 0.75 then
  for _, key in ipairs(KEYS) do
    redis.call("PEXPIRE", key, ARGV[4])
  end
end

local most = tonumber(ARGV[7])
local waits = "some"
if #lapsed >= most or #left >= most then
  waits = "more"
elseif #ARGV < 11 and held == 0 then
  waits = "none"
end
told = tonumber(told)
if ARGV[8] == "" then
  return { epoch, told, waits, 0, 0, {} }
end
local from, to = "[" .. ARGV[8], "(" .. ARGV[8] .. "\255"
local page = {}
if tonumber(ARGV[9]) > 0 then
  page = redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, ARGV[9])
end
return {
  epoch,
  told,
  waits,
  redis.call("ZLEXCOUNT", members, from, to),
  redis.call("ZLEXCOUNT", users, from, to),
  page,
}
