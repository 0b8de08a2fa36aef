-- Appends the publications of one batch to their channels' histories and hands them to all nodes.
-- Preceded by history-standing.lua. All keys are in one slot.
-- KEYS[1 .. 2n]  stream and meta of each of n channels
-- KEYS[2n+1 ..]  one for each item that has a message id, in the items' order
-- ARGV[1] bus channel
-- ARGV[2] the envelope up to its positions
-- ARGV[3] the items, one after the other; what an entry holds and an envelope carries
-- ARGV[4] MessagePack: {n, then size, ttl ms, meta ttl ms of each channel,
--         then of each item its channel (from 1), its bytes, 1 if it has a message id}
-- ARGV[5] fresh epoch
-- ARGV[6] ms for which a message id is remembered
-- ARGV[7] SPUBLISH on a Cluster, else PUBLISH or absent
-- Returns {MessagePack: offset, epoch of each item flat, of a repetition those of the first, or -1, error;
--          "" or why something after an append failed; "" or why publishing failed}.
-- Nothing raises an error from the first append on: what was appended is published.
local bus, head, blob, fresh, windowMs = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local publish = ARGV[7] or "PUBLISH"
local layout = cmsgpack.unpack(ARGV[4])
local channels = layout[1]
local itemsAt = 1 + channels * 3

if redis.acl_check_cmd and not redis.acl_check_cmd(publish, bus, "") then
  return redis.error_reply("NOPERM this user may not " .. publish .. " to " .. bus)
end

-- In pieces: a Lua call takes some thousands of arguments at most.
local first = {}
for from = channels * 2 + 1, #KEYS, 1000 do
  local to = math.min(from + 999, #KEYS)
  for i, value in ipairs(redis.call("MGET", unpack(KEYS, from, to))) do
    first[from + i - 1] = value
  end
end

local trouble = ""
local function note(err)
  if err and trouble == "" then
    trouble = err
  end
end
local function try(...)
  note(failure(redis.pcall(...)))
end

local opened, answers, positions, bodies = {}, {}, {}, {}
-- By key: what this very batch published under a message id.
local made = {}

local function answer(offset, epoch)
  answers[#answers + 1] = offset
  answers[#answers + 1] = epoch
end

local function append(channel, size, bytes)
  return failure(
    redis.pcall("XADD", channel.stream, "MAXLEN", "~", size, "0-" .. channel.top + 1, "d", bytes)
  )
end

local onceAt = channels * 2
local byteAt = 1
for at = itemsAt + 1, #layout, 3 do
  local number = layout[at]
  local bytes = string.sub(blob, byteAt, byteAt + layout[at + 1] - 1)
  byteAt = byteAt + layout[at + 1]
  local once, offset, epoch
  if layout[at + 2] == 1 then
    onceAt = onceAt + 1
    once = KEYS[onceAt]
    local known = made[once] or first[onceAt]
    if known then
      offset, epoch = string.match(known, "^(%d+) (.+)$")
    end
  end
  if epoch then
    answer(tonumber(offset), epoch)
  else
    local channel = opened[number]
    if not channel then
      channel = standing(KEYS[number * 2 - 1], KEYS[number * 2], fresh)
      opened[number] = channel
    end
    local size = layout[number * 3 - 1]
    local err = channel.err
    if not err then
      err = append(channel, size, bytes)
      if err and string.find(err, "equal or smaller", 1, true) and not channel.renewed then
        -- The stream is ahead of its meta: they are not of one piece.
        renew(channel, fresh)
        err = channel.err or append(channel, size, bytes)
      end
    end
    if err then
      answer(-1, err)
    else
      channel.top = channel.top + 1
      channel.appended = true
      answer(channel.top, channel.epoch)
      positions[#positions + 1] = channel.top
      positions[#positions + 1] = channel.epoch
      bodies[#bodies + 1] = bytes
      if once then
        made[once] = channel.top .. " " .. channel.epoch
        try("SET", once, made[once], "PX", windowMs)
      end
    end
  end
end

for number, channel in pairs(opened) do
  if channel.appended then
    try("HSET", channel.meta, "top", channel.top)
    try("PEXPIRE", channel.stream, layout[number * 3])
  end
  if not channel.err then
    note(keep(channel, layout[number * 3 + 1]))
  end
end

local unpublished, packed = "", nil
if #bodies > 0 then
  local all = #bodies * 2 == #answers
  local packedPositions = cmsgpack.pack(positions)
  packed = all and packedPositions
  -- 0xdd: an array whose length follows in four bytes.
  local list = "\221" .. struct.pack(">I4", #bodies) .. (all and blob or table.concat(bodies))
  unpublished = failure(redis.pcall(publish, bus, head .. packedPositions .. list)) or ""
end
-- As one text: a list of Redis's costs the reader a microsecond an item.
return { packed or cmsgpack.pack(answers), trouble, unpublished }
