-- Reads a stretch of a channel's history together with where the channel stands.
-- Preceded by history-standing.lua.
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
-- Returns {epoch, top, 1 if it stopped by bytes, then offset and item of each publication}.
local STEP = 32
local channel = standing(KEYS[1], KEYS[2], ARGV[1])
local err = channel.err or keep(channel, tonumber(ARGV[2]))
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
while low <= high and count < limit do
  local step = math.min(STEP, limit - count)
  local entries
  if reverse then
    entries = redis.call("XREVRANGE", channel.stream, "0-" .. high, "0-" .. low, "COUNT", step)
  else
    entries = redis.call("XRANGE", channel.stream, "0-" .. low, "0-" .. high, "COUNT", step)
  end
  for _, entry in ipairs(entries) do
    local offset = tonumber(string.sub(entry[1], 3))
    local item = entry[2][2]
    page[#page + 1] = offset
    page[#page + 1] = item
    bytes = bytes + #item
    count = count + 1
    if reverse then
      high = offset - 1
    else
      low = offset + 1
    end
    if bytes >= tonumber(ARGV[8]) and low <= high and count < limit then
      page[3] = 1
      return page
    end
  end
  if #entries < step then
    break
  end
end
return page
