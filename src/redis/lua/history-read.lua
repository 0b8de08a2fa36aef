-- Reads a part of a channel's history together with the channel's current position.
-- Preceded by history-channel.lua.
-- KEYS[1] stream
-- KEYS[2] meta
-- ARGV[1] fresh epoch
-- ARGV[2] meta ttl, ms
-- ARGV[3] size: what the stream holds beyond that is not told
-- ARGV[4] epoch of the position to start from, "" for none
-- ARGV[5] its offset
-- ARGV[6] "1": newest first, what stands before the position; else oldest first, what follows it
-- ARGV[7] most publications
-- ARGV[8] bytes after which to stop
-- ARGV[9] deadline, ms
-- ARGV[10] meta ttl of a channel that was never published to, ms
-- ARGV[11] "1": nothing is stored of a channel that has no meta
-- Returns {epoch, top, 1 if it stopped by bytes, then of each entry its last offset, count, and items, one after the
-- other}. The first and the last entry may hold more than was asked for.
local STEP = 32
local late = expired(ARGV[9])
if late then
  return late
end
local channel = openChannel(KEYS[1], KEYS[2], ARGV[1], ARGV[11] == "1")
local err = channel.err or extendTtl(channel, tonumber(ARGV[2]), ARGV[10])
if err then
  return redis.error_reply(err)
end
local page = { channel.epoch, channel.top, 0 }
local sinceEpoch, since, limit = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
if sinceEpoch ~= "" and sinceEpoch ~= channel.epoch then
  return page
end
local reverse = ARGV[6] == "1"
local low, high = math.max(1, channel.top - tonumber(ARGV[3]) + 1), channel.top
if sinceEpoch ~= "" then
  if reverse then
    high = math.min(high, since - 1)
  else
    low = math.max(low, since + 1)
  end
end
local bytes, count = 0, 0
local maxBytes = tonumber(ARGV[8])

-- @return whether to go on
local function tell(entry)
  local last = tonumber(string.sub(entry[1], 3))
  local fields = entry[2]
  local items, data = 1, fields[2]
  if fields[1] == "n" then
    -- Whatever may stand there: there are no more than offsets.
    items = math.max(1, math.min(math.floor(tonumber(data) or 1), last))
    data = fields[4] or ""
  end
  local from, to = math.max(low, last - items + 1), math.min(high, last)
  if from > to then
    return true
  end
  page[#page + 1] = last
  page[#page + 1] = items
  page[#page + 1] = data
  bytes = bytes + #data
  count = count + to - from + 1
  if reverse then
    high = from - 1
  else
    low = to + 1
  end
  if bytes >= maxBytes and low <= high and count < limit then
    page[3] = 1
    return false
  end
  return true
end

if reverse and low <= high and high < channel.top then
  -- The entry that holds the newest wanted may be named after a later one.
  local entries = redis.call("XRANGE", channel.stream, "0-" .. high, "0-" .. channel.top, "COUNT", 1)
  local entry = entries[1]
  if entry and not tell(entry) then
    return page
  end
end
while low <= high and count < limit do
  local step = math.min(STEP, limit - count)
  local entries
  if reverse then
    entries = redis.call("XREVRANGE", channel.stream, "0-" .. high, "0-" .. low, "COUNT", step)
  else
    entries = redis.call("XRANGE", channel.stream, "0-" .. low, "0-" .. high, "COUNT", step)
  end
  for _, entry in ipairs(entries) do
    if not tell(entry) then
      return page
    end
  end
  if #entries < step then
    break
  end
end
return page
