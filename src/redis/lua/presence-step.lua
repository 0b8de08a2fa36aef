-- One step of a shard's presence: checks that the record is whole, writes a batch, takes out what
-- lapsed, tells the leaves that are due, and reads a channel if asked. All of it is one script in
-- one slot, so a leave is told by whoever takes it off the record: once, whoever else tries.
-- Time is Redis's own. A node that dies between two steps leaves nothing half done.
-- A person is "key\n=user" or, if anonymous, "key\n-connection"; no part holds a line end.
-- KEYS[1] members: sorted set, all scores 0, "person\nconnection" ("" if anonymous)
-- KEYS[2] expiries: sorted set, the same by the ms at which each lapses
-- KEYS[3] users: sorted set, all scores 0, persons who have a connection
-- KEYS[4] due: sorted set, persons whose last connection went, by the ms at which that is told
-- KEYS[5] last: hash, person in due -> that connection
-- KEYS[6] epoch: string, "replid id"; another one means that the record was lost
-- ARGV[1] channel of the events   ARGV[2] life of a member, ms   ARGV[3] grace, ms
-- ARGV[4] ttl of the keys, ms: for when no node lives
-- ARGV[5] epoch that the caller knows, or ""   ARGV[6] id of the epoch if a new one begins
-- ARGV[7] how many lapsed and due ones to take at most
-- ARGV[8] "key\n" of the channel to read, or ""   ARGV[9] members to read at most
-- ARGV[10] PUBLISH, or SPUBLISH on a Cluster
-- ARGV[11..] items: a sign and "person\nconnection"
--   + joins   * is still there: joins unless the record was lost   ~ is there: never told   - leaves
-- Events go out as one message: "1", then per event three lines: sign and key, person, connection.
-- Returns {epoch, what waits, connections, users, members}; what waits: "more" lapsed or are due than
-- were taken, "some" are here or leaving, "none"
local members, expiries, users, due, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local events = {}

-- After a restart or failover the tail may be missing, and eviction takes single keys.
local info = redis.pcall("INFO", "replication")
local replid = type(info) == "string" and string.match(info, "master_replid:(%w+)") or "-"
local epoch = redis.call("GET", KEYS[6])
local held = redis.call("ZCARD", members)
local whole = epoch
  and string.match(epoch, "^(%S+)") == replid
  and held == redis.call("ZCARD", expiries)
  and (held > 0) == (redis.call("ZCARD", users) > 0)
  and redis.call("ZCARD", due) == redis.call("HLEN", last)
if not whole then
  redis.call("UNLINK", members, expiries, users, due, last)
  epoch = replid .. " " .. ARGV[6]
  redis.call("SET", KEYS[6], epoch)
end
local lost = ARGV[5] ~= "" and ARGV[5] ~= epoch

local function personOf(entry)
  return string.match(entry, "^([^\n]*\n[^\n]*)\n([^\n]*)$")
end

local function joined(entry, told)
  local person, connection = personOf(entry)
  redis.call("ZADD", members, "NX", 0, entry)
  redis.call("ZADD", expiries, now + ARGV[2], entry)
  if redis.call("ZADD", users, "NX", 0, person) == 0 then
    return
  end
  redis.call("HDEL", last, person)
  if redis.call("ZREM", due, person) == 0 and told then
    events[#events + 1] = "+" .. person .. "\n" .. connection
  end
end

local function gone(entry)
  local person, connection = personOf(entry)
  if not person or redis.call("ZLEXCOUNT", members, "[" .. person .. "\n", "(" .. person .. "\n\255") > 0 then
    return
  end
  redis.call("ZREM", users, person)
  redis.call("ZADD", due, now + ARGV[3], person)
  redis.call("HSET", last, person, connection)
end

for at = 11, #ARGV do
  local sign, entry = string.sub(ARGV[at], 1, 1), string.sub(ARGV[at], 2)
  if sign == "-" then
    redis.call("ZREM", expiries, entry)
    -- Of a record that was lost all are missing: whoever is back within the grace has not left.
    if redis.call("ZREM", members, entry) == 1 or lost then
      gone(entry)
    end
  else
    joined(entry, sign == "+" or (sign == "*" and not lost))
  end
end

-- After the items: who is written again in this very step has not left.
local lapsed = redis.call("ZRANGEBYSCORE", expiries, "-inf", now, "LIMIT", 0, ARGV[7])
for _, entry in ipairs(lapsed) do
  redis.call("ZREM", expiries, entry)
  redis.call("ZREM", members, entry)
  gone(entry)
end
local leaving = redis.call("ZRANGEBYSCORE", due, "-inf", now, "LIMIT", 0, ARGV[7])
for _, person in ipairs(leaving) do
  local connection = redis.call("HGET", last, person)
  redis.call("ZREM", due, person)
  redis.call("HDEL", last, person)
  events[#events + 1] = "-" .. person .. "\n" .. connection
end
if #ARGV >= 11 or #lapsed > 0 or redis.call("PTTL", KEYS[6]) < ARGV[4] * 0.75 then
  for _, key in ipairs(KEYS) do
    redis.call("PEXPIRE", key, ARGV[4])
  end
end
if #events > 0 then
  redis.call(ARGV[10], ARGV[1], "1\n" .. table.concat(events, "\n"))
end

local most = tonumber(ARGV[7])
local waits = "some"
if #lapsed >= most or #leaving >= most then
  waits = "more"
elseif #ARGV < 11 and held == 0 and redis.call("EXISTS", due) == 0 then
  waits = "none"
end
if ARGV[8] == "" then
  return { epoch, waits, 0, 0, {} }
end
local from, to = "[" .. ARGV[8], "(" .. ARGV[8] .. "\255"
local page = {}
if tonumber(ARGV[9]) > 0 then
  page = redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, ARGV[9])
end
return { epoch, waits, redis.call("ZLEXCOUNT", members, from, to), redis.call("ZLEXCOUNT", users, from, to), page }
