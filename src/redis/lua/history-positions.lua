-- The current positions of many channels. Preceded by history-channel.lua. All keys are in one slot.
-- KEYS     stream and meta of each channel
-- ARGV[1]  fresh epoch
-- ARGV[2]  deadline, ms
-- ARGV[3]  meta ttl of a channel that was never published to, ms
-- ARGV[4 ..] meta ttl of each channel, ms
-- Returns top and epoch of each channel, flat.
local late = expired(ARGV[2])
if late then
  return late
end
local positions = {}
for at = 1, #KEYS, 2 do
  local channel = openChannel(KEYS[at], KEYS[at + 1], ARGV[1])
  local err = channel.err or extendTtl(channel, tonumber(ARGV[4 + (at - 1) / 2]), ARGV[3])
  if err then
    return redis.error_reply(err)
  end
  positions[at] = channel.top
  positions[at + 1] = channel.epoch
end
return positions
