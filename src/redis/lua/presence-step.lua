-- One step of a shard's presence: checks that the record is whole, writes a batch, takes out what
-- lapsed, tells the leaves that are due, and reads the channels that are asked for. All of it is one script in
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
-- KEYS[6] infos: sorted set, all scores 0, "person\nconnection\ninfo" of those members that show info, and "\nid":
--   another id means that the infos were lost. A sorted set, so that those of a channel are one range, and that rights
--   of before it was there are enough. Nodes of before take members out and leave their infos.
-- ARGV[1] channel of the events   ARGV[2] life of a member, ms   ARGV[3] grace, ms
-- ARGV[4] ttl of the keys, ms: for when no node lives
-- ARGV[5] epoch that the caller knows, or ""   ARGV[6] id of the epoch if a new one begins
-- ARGV[7] how many lapsed and due ones to take at most
-- ARGV[8] how many reads follow
-- ARGV[9] PUBLISH, or SPUBLISH on a Cluster
-- ARGV[10] "1" if members of the caller show info, else ""   ARGV[11] the format that all nodes read
-- ARGV[12..] reads: members to read at most, a space, and "key\n" of the channel; or ">" and the rest of what did not fit a
--   reply before: the last of its infos, "\n", and the member up to whose infos
-- behind them items: a sign and "person\nconnection"; behind it "\ninfo", or "\n" where it shows none any more
--   + joins   * is still there: joins unless the record was lost   - leaves
--   ~ is there: told only where the record began longer than a grace ago
--   ? is still there and shows what it did: told in the reply where it is not, as then its info is needed
--   = as ?, and its info, which was lost, is put again, of which nobody is told
--   & joins as +, if fewer users are in its channel than the number that stands before the entry, with a space, or its own
--     is one of them; else it is refused
--   ! leaves if its expiry is still the one that stands before the entry, with a space
-- Events go out as one message: "2 epoch number" with the number of the first, then per event three lines: sign and
-- key, person, connection. Where one tells info, and all nodes read format 3, it is "3 epoch number", with a fourth line
-- for each event, info or nothing, and with a sign more: = shows other info than was told before.
-- Returns {epoch, told, what waits, those of ? and = that are not there, id of the infos or "", those of & that were
-- refused, 1 if the record began within a grace else 0, reads}; what waits: "more" lapsed or are due than were taken, "some"
-- are here or leaving, "none". Of each read {connections, users, members, infos of the members, the last of them if more
-- follow or ""}, or 0: there was enough to read, ask again.
local members, expiries, users, due, infos = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local FIRST_READ = 12
local FIRST_ITEM = FIRST_READ + ARGV[8]
-- Members in all reads of a step, beyond which the next of them waits.
local READ_MEMBERS = 2000
-- Infos that a reply has at most, and how many are read at a time.
local INFO_BYTES, INFOS_AT_ONCE = 524288, 50
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local events = {}
-- By event. They go out where any is told, be it as none any more.
local eventInfos, tellsInfo = {}, false
local readsInfo = tonumber(ARGV[11]) >= 3

-- After a restart or failover the tail may be missing, and eviction takes single keys.
local server = redis.pcall("INFO", "replication")
local replid = type(server) == "string" and string.match(server, "master_replid:(%w+)") or "-"
local epoch, told = string.match(redis.call("GET", KEYS[5]) or "", "^(%S+ %S+) (%d+)$")
local held = redis.call("ZCARD", members)
local leaving = redis.call("ZCARD", due)
local whole = epoch
  and string.match(epoch, "^(%S+)") == replid
  and held == redis.call("ZCARD", expiries) + leaving
  and (held > 0) == (redis.call("ZCARD", users) > 0)
if not whole then
  redis.call("UNLINK", members, expiries, users, due, infos)
  epoch, told, leaving = replid .. " " .. ARGV[6] .. "." .. string.format("%.0f", now), 0, 0
  redis.call("SET", KEYS[5], epoch .. " 0")
end
local lost = ARGV[5] ~= "" and ARGV[5] ~= epoch
-- Whoever was cut off while the record was lost writes its members after the others told their clients what is in it.
local late = now - (tonumber(string.match(epoch, "%.(%d+)$")) or now) > tonumber(ARGV[3])

local function personOf(entry)
  return string.match(entry, "^([^\n]*\n[^\n]*)\n([^\n]*)$")
end

local function rangeOf(prefix)
  return "[" .. prefix .. "\n", "(" .. prefix .. "\n\255"
end

-- Asked once, and not in a step in which nobody comes or goes: where nobody shows info that is all that it costs.
local infosHeld
local function hasInfos()
  infosHeld = infosHeld or redis.call("ZCARD", infos)
  return infosHeld > 0
end

-- Returns the info of an entry, and the member of infos that has it; nil: it shows none.
local function infoOf(entry)
  if not hasInfos() then
    return nil
  end
  local from, to = rangeOf(entry)
  local held = redis.call("ZRANGEBYLEX", infos, from, to, "LIMIT", 0, 1)[1]
  return held and string.sub(held, #entry + 2), held
end

-- Returns whether that is something else than before.
local function show(entry, info)
  local former, heldAs = infoOf(entry)
  if former == info then
    return false
  end
  if heldAs then
    infosHeld = infosHeld - redis.call("ZREM", infos, heldAs)
  end
  if info then
    if not hasInfos() then
      infosHeld = redis.call("ZADD", infos, 0, "\n" .. ARGV[6])
    end
    infosHeld = infosHeld + redis.call("ZADD", infos, 0, entry .. "\n" .. info)
  end
  return true
end

local function remove(entry)
  redis.call("ZREM", members, entry)
  if hasInfos() then
    show(entry, nil)
  end
end

local function tell(sign, entry, info)
  events[#events + 1] = sign .. entry
  if readsInfo and (info or sign == "=") then
    eventInfos[#events] = info
    tellsInfo = true
  end
end

local function tellUpdate(entry, info)
  if readsInfo then
    tell("=", entry, info)
  end
end

-- says: the caller told what it shows, which may be nothing.
local function joined(entry, tells, says, info)
  if redis.call("ZADD", expiries, now + ARGV[2], entry) == 0 then
    if says and show(entry, info) then
      tellUpdate(entry, info)
    end
    return
  end
  local person = personOf(entry)
  redis.call("ZADD", members, "NX", 0, entry)
  if redis.call("ZADD", users, "NX", 0, person) == 1 then
    if info or hasInfos() then
      show(entry, info)
    end
    if tells then
      tell("+", entry, info)
    end
    return
  end
  if leaving > 0 and redis.call("ZREM", due, person) == 1 then
    leaving = leaving - 1
    -- Back: the connection that stood for the person goes.
    local from, to = rangeOf(person)
    local shown = infoOf(entry)
    for _, other in ipairs(redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, 2)) do
      if other ~= entry then
        shown = infoOf(other)
        remove(other)
      end
    end
    if info or hasInfos() then
      show(entry, info)
    end
    if tells and shown ~= info then
      tellUpdate(entry, info)
    end
  elseif info or hasInfos() then
    show(entry, info)
    local from, to = rangeOf(person)
    local both = tells and info and redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, 2) or {}
    local other = both[1] == entry and both[2] or both[1]
    if other and infoOf(other) ~= info then
      tellUpdate(entry, info)
    end
  end
end

-- Its expiry is off already.
local function gone(entry)
  local person = personOf(entry)
  local from, to = rangeOf(person or "")
  if not person or redis.call("ZLEXCOUNT", members, from, to) > 1 then
    local shown = infoOf(entry)
    remove(entry)
    if person and (shown or hasInfos()) then
      -- What was told of the person last may have been this one's.
      local other = redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, 1)[1]
      local info = infoOf(other)
      if info ~= shown then
        tellUpdate(other, info)
      end
    end
    return
  end
  leaving = leaving + redis.call("ZADD", due, now + ARGV[3], person)
end

local function isFull(entry, most)
  local person = personOf(entry)
  if redis.call("ZSCORE", users, person) then
    return false
  end
  local prefix = string.match(entry, "^[^\n]*\n")
  return redis.call("ZLEXCOUNT", users, "[" .. prefix, "(" .. prefix .. "\255") >= tonumber(most)
end

local missing, refused = {}, {}
for at = FIRST_ITEM, #ARGV do
  local sign, entry = string.sub(ARGV[at], 1, 1), string.sub(ARGV[at], 2)
  local says, info = false, nil
  local most
  if sign == "&" then
    most, entry = string.match(entry, "^(%d+) (.*)$")
  end
  if ARGV[10] ~= "" then
    local named, shown = string.match(entry, "^([^\n]*\n[^\n]*\n[^\n]*)\n(.*)$")
    if named then
      says, entry = true, named
      info = shown ~= "" and shown or nil
    end
  end
  if sign == "-" then
    if redis.call("ZREM", expiries, entry) == 1 then
      gone(entry)
    elseif lost and not late then
      -- Of a record that was lost all are missing: whoever is back within the grace has not left. Later others were told
      -- who is there, without it: whoever is back has joined.
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
  elseif sign == "?" or sign == "=" then
    if redis.call("ZADD", expiries, now + ARGV[2], entry) == 1 then
      redis.call("ZREM", expiries, entry)
      missing[#missing + 1] = entry
    elseif sign == "=" then
      show(entry, info)
    end
  elseif most and isFull(entry, most) then
    refused[#refused + 1] = entry
  else
    joined(entry, sign == "+" or sign == "&" or (sign == "*" and not lost) or late, says, info)
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
  local from, to = rangeOf(person)
  local last = redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, 1)[1]
  redis.call("ZREM", due, person)
  redis.call("ZREM", users, person)
  remove(last)
  tell("-", last)
end
if #events > 0 then
  local first = string.format("%.0f", told + 1)
  told = string.format("%.0f", told + #events)
  redis.call("SET", KEYS[5], epoch .. " " .. told)
  local version = "2 "
  if tellsInfo then
    version = "3 "
    for at, event in ipairs(events) do
      events[at] = event .. "\n" .. (eventInfos[at] or "")
    end
  end
  redis.call(ARGV[9], ARGV[1], version .. epoch .. " " .. first .. "\n" .. table.concat(events, "\n"))
end

-- Infos that nodes of before left behind, as far as it shows in numbers: of so many, some of those in a row that begins
-- somewhere, as time has it.
if infosHeld and infosHeld - 1 > redis.call("ZCARD", members) then
  local start = now % infosHeld
  for _, held in ipairs(redis.call("ZRANGE", infos, start, start + INFOS_AT_ONCE - 1)) do
    local entry = string.match(held, "^([^\n]*\n[^\n]*\n[^\n]*)\n")
    if entry and not redis.call("ZSCORE", members, entry) then
      infosHeld = infosHeld - redis.call("ZREM", infos, held)
    end
  end
end
if infosHeld == 1 then
  redis.call("UNLINK", infos)
end
if #ARGV >= FIRST_ITEM or #lapsed > 0 or #events > 0 or redis.call("PTTL", KEYS[5]) < ARGV[4] * 0.75 then
  for at = 1, 5 do
    redis.call("PEXPIRE", KEYS[at], ARGV[4])
  end
  if ARGV[10] ~= "" or (infosHeld or 0) > 1 then
    redis.call("PEXPIRE", infos, ARGV[4])
  end
end

local most, young = tonumber(ARGV[7]), late and 0 or 1
local waits = "some"
if #lapsed >= most or #left >= most then
  waits = "more"
elseif #ARGV < FIRST_ITEM and held == 0 then
  waits = "none"
end
told = tonumber(told)
local id = ""
if ARGV[10] ~= "" then
  id = string.sub(redis.call("ZRANGEBYLEX", infos, "[\n", "(\n\255", "LIMIT", 0, 1)[1] or "", 2)
end

local function read(asked)
  local page, shown, rest = {}, {}, ""
  local infosFrom, infosTo
  local limit, prefix = string.match(asked, "^(%d+) (.*)$")
  local from, to
  if limit then
    limit, from, to = tonumber(limit), "[" .. prefix, "(" .. prefix .. "\255"
    if limit > 0 then
      page = redis.call("ZRANGEBYLEX", members, from, to, "LIMIT", 0, limit + 1)
    end
    if #page > limit then
      -- Each user is named before anybody's second connection.
      page = {}
      for _, person in ipairs(redis.call("ZRANGEBYLEX", users, from, to, "LIMIT", 0, limit)) do
        local of, upTo = rangeOf(person)
        page[#page + 1] = redis.call("ZRANGEBYLEX", members, of, upTo, "LIMIT", 0, 1)[1]
      end
    end
    if #page > 0 and hasInfos() then
      infosFrom, infosTo = from, "(" .. page[#page] .. "\n\255"
    end
  else
    local after, upTo = string.match(asked, "^>([^\n]*\n[^\n]*\n[^\n]*\n[^\n]*)\n(.*)$")
    infosFrom, infosTo = "(" .. after, "(" .. upTo .. "\n\255"
  end
  local bytes = 0
  while infosFrom do
    local some = redis.call("ZRANGEBYLEX", infos, infosFrom, infosTo, "LIMIT", 0, INFOS_AT_ONCE)
    for _, each in ipairs(some) do
      shown[#shown + 1] = each
      bytes = bytes + #each
    end
    infosFrom = nil
    if #some == INFOS_AT_ONCE then
      if bytes < INFO_BYTES then
        infosFrom = "(" .. some[#some]
      else
        rest = some[#some]
      end
    end
  end
  local connections = from and redis.call("ZLEXCOUNT", members, from, to) or 0
  return { connections, from and redis.call("ZLEXCOUNT", users, from, to) or 0, page, shown, rest }, #page, bytes
end

local reads, readMembers, readBytes = {}, 0, 0
for at = FIRST_READ, FIRST_ITEM - 1 do
  if readMembers >= READ_MEMBERS or readBytes >= INFO_BYTES then
    reads[#reads + 1] = 0
  else
    local answer, count, bytes = read(ARGV[at])
    reads[#reads + 1] = answer
    readMembers, readBytes = readMembers + count, readBytes + bytes
  end
end
return { epoch, told, waits, missing, id, refused, young, reads }
