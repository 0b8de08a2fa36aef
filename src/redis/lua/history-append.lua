-- Appends the publications of one batch to their channels' histories and hands them to all nodes.
-- Preceded by history-channel.lua. All keys are in one slot.
-- KEYS[1 .. 2n]  stream and meta of each of n channels
-- KEYS[2n+1 ..]  one for each item that has a message id, in the items' order
-- ARGV[1] bus channel
-- ARGV[2] the envelope up to its positions
-- ARGV[3] the items, one after the other; what an entry holds and an envelope carries
-- ARGV[4] MessagePack: {{size, ttl ms, meta ttl ms, bytes or 0 of each channel}, {channel (from 1) and bytes of each item},
--         {items that have a message id}}
-- ARGV[5] fresh epoch
-- ARGV[6] ms for which a message id is remembered
-- ARGV[7] SPUBLISH on a Cluster, else PUBLISH
-- ARGV[8] deadline, ms
-- Returns {MessagePack: positions of all items, of a repetition that of the first, or with -1 and an error;
--          "" or why something after an append failed; "" or why publishing failed}.
-- Nothing raises an error from the first append on: what was appended is published.
-- An entry is "d" and an item, or "n", how many, "d" and the items. Redis hashes every byte of every text that Lua
-- makes, which costs a third of all: the items are copied into their entry and into the envelope, nowhere else.
local bus, head, blob, fresh, windowMs = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local publish = ARGV[7]
local late = expired(ARGV[8])
if late then
  return late
end
local rules, layout, identified = unpack(cmsgpack.unpack(ARGV[4]))
local channels = #rules / 4

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

-- Publications of a channel that stand in one entry, at most; and its bytes, but for the last of them.
local ENTRY_ITEMS, ENTRY_BYTES = 64, 32768

-- The state of each channel: by its number, and in the order in which the items name them.
local states, opened = {}, {}
local count = #layout / 2
-- By item: its answer, and for a repetition the item whose answer it has; its own, if that was in an earlier batch.
local offsets, epochs, sameAs = {}, {}, {}
-- By key: the item of this very batch that has this message id.
local made = {}

-- Not a closure in write: one for each entry takes 2.5 % of the script.
local function add(channel, bytes)
  local items = #channel.items
  local last = channel.top + items
  local oldest = math.max(1, last - channel.size + 1, channel.oldest)
  local minId, id = "0-" .. oldest, "0-" .. last
  if items == 1 then
    return failure(redis.pcall("XADD", channel.stream, "MINID", "~", minId, id, "d", bytes))
  end
  return failure(redis.pcall("XADD", channel.stream, "MINID", "~", minId, id, "n", items, "d", bytes))
end

-- Bounds a channel in bytes without looking at its entries: a mark is the offset after each eighth of the bytes, and
-- up to the eighth last mark nothing is kept. Items of at most their share, bytes by size, are not counted, as `size`
-- bounds them: what has such items alone, as nearly all have, is not slowed down. So at most twice the bytes are kept.
local MARKS = 8
local function oldestOf(marks)
  local mark = string.match(marks, "^(%d+) %d+ %d+ %d+ %d+ %d+ %d+ %d+ ")
  return mark and tonumber(mark) + 1 or 1
end

local function readMarks(channel)
  local held = redis.pcall("HMGET", channel.meta, "marks", "bytes")
  if failure(held) then
    held = {}
  end
  channel.marks, channel.counted = held[1] or "", tonumber(held[2] or nil) or 0
  channel.oldest = oldestOf(channel.marks)
end

local function mark(channel, bytes)
  local eighth = channel.mostBytes / MARKS
  local crossed = math.floor((channel.counted + bytes) / eighth)
  channel.counted = (channel.counted + bytes) % eighth
  if crossed == 0 then
    return
  end
  local marks = channel.marks .. string.rep(channel.top .. " ", math.min(crossed, MARKS))
  local _, count = string.gsub(marks, " ", " ")
  if count > MARKS then
    marks = string.gsub(marks, "^" .. string.rep("%d+ ", count - MARKS), "", 1)
  end
  channel.marks, channel.oldest = marks, oldestOf(marks)
end

-- Writes what a channel has gathered as one entry, whose id is the offset of its last publication.
local function write(channel)
  local items = channel.items
  if #items == 0 then
    return
  end
  local bytes = channel.from and string.sub(blob, channel.from, channel.to) or table.concat(channel.parts)
  local err = channel.err
  local counts = channel.mostBytes > 0 and #bytes > #items * channel.mostBytes / channel.size
  if counts and not err and not channel.marks then
    readMarks(channel)
  end
  if not err then
    err = add(channel, bytes)
    if err and string.find(err, "equal or smaller", 1, true) and not channel.renewed then
      -- The stream is ahead of its meta: they are not of one piece.
      renew(channel, fresh)
      channel.marks, channel.counted, channel.oldest = counts and "" or nil, 0, 1
      err = channel.err or add(channel, bytes)
    end
  end
  for i, item in ipairs(items) do
    if err then
      offsets[item], epochs[item] = -1, err
    else
      offsets[item], epochs[item] = channel.top + i, channel.epoch
    end
  end
  if not err then
    channel.top = channel.top + #items
    channel.appended = true
    if counts then
      mark(channel, #bytes)
    end
  end
  channel.items, channel.parts, channel.from, channel.bytes = {}, {}, nil, 0
end

local function gather(channel, item, from, to)
  if channel.bytes >= ENTRY_BYTES or #channel.items >= ENTRY_ITEMS then
    write(channel)
  end
  if #channel.items == 0 then
    channel.from = from
  elseif channel.from and channel.to + 1 ~= from then
    -- Other channels' stand between them.
    channel.parts[1] = string.sub(blob, channel.from, channel.to)
    channel.from = nil
  end
  if not channel.from then
    channel.parts[#channel.parts + 1] = string.sub(blob, from, to)
  end
  channel.to = to
  channel.bytes = channel.bytes + to - from + 1
  channel.items[#channel.items + 1] = item
end

-- By item: its key in KEYS.
local onceAt = {}
for i, item in ipairs(identified) do
  onceAt[item] = channels * 2 + i
end
local byteAt = 1
-- By item: the key that remembers it, and where its bytes end.
local onces, ends = {}, {}
for item = 1, count do
  local number = layout[item * 2 - 1]
  local to = byteAt + layout[item * 2] - 1
  local at = onceAt[item]
  if at then
    local once = KEYS[at]
    local offset, epoch = string.match(first[at] or "", "^(%d+) (.+)$")
    if epoch then
      sameAs[item], offsets[item], epochs[item] = item, tonumber(offset), epoch
    elseif made[once] then
      sameAs[item] = made[once]
    else
      made[once] = item
      onces[item] = once
    end
  end
  if not sameAs[item] then
    local channel = states[number]
    if not channel then
      channel = openChannel(KEYS[number * 2 - 1], KEYS[number * 2], fresh)
      channel.number, channel.size, channel.mostBytes = number, rules[number * 4 - 3], rules[number * 4]
      channel.items, channel.parts, channel.bytes = {}, {}, 0
      channel.oldest = 1
      states[number] = channel
      opened[#opened + 1] = channel
    end
    gather(channel, item, byteAt, to)
  end
  ends[item] = to
  byteAt = to + 1
end

for _, channel in ipairs(opened) do
  write(channel)
  local number = channel.number
  if channel.appended then
    if channel.marks then
      try("HSET", channel.meta, "top", channel.top, "marks", channel.marks, "bytes", channel.counted)
    else
      try("HSET", channel.meta, "top", channel.top)
    end
    try("PEXPIRE", channel.stream, rules[number * 4 - 2])
  end
  if not channel.err then
    note(extendTtl(channel, rules[number * 4 - 1]))
  end
end

-- MessagePack: the head of an array, 0xdd and its length in four bytes.
local function arrayHead(length)
  return "\221" .. struct.pack(">I4", length)
end

-- The positions of publications: {{channel, text, first offset, ...}, {number of its run, ...}}. A run has one text, and
-- offsets in a row.
local function places()
  local runs, numbers = {}, {}
  -- By channel: its last run, that run's text, and the offset that continues it.
  local last, texts, nexts = {}, {}, {}
  local function add(offset, channel, text)
    if nexts[channel] ~= offset or texts[channel] ~= text then
      local at = #runs
      runs[at + 1], runs[at + 2], runs[at + 3] = channel, text, offset
      last[channel], texts[channel] = at / 3 + 1, text
    end
    nexts[channel] = offset == -1 and -1 or offset + 1
    numbers[#numbers + 1] = last[channel]
  end
  return { list = { runs, numbers }, add = add }
end

local answers = places()
local all = true
for item = 1, count do
  local same = sameAs[item] or item
  local offset, epoch = offsets[same], epochs[same]
  answers.add(offset, layout[item * 2 - 1], epoch)
  if sameAs[item] or offset == -1 then
    all = false
  elseif onces[item] then
    try("SET", onces[item], offset .. " " .. epoch, "PX", windowMs)
  end
end
local answered = cmsgpack.pack(answers.list)

local listed, bodies, bodiesCount = answered, blob, count
if not all then
  local positions, pieces = places(), {}
  for item = 1, count do
    if not sameAs[item] and offsets[item] ~= -1 then
      positions.add(offsets[item], layout[item * 2 - 1], epochs[item])
      pieces[#pieces + 1] = string.sub(blob, (ends[item - 1] or 0) + 1, ends[item])
    end
  end
  listed, bodies, bodiesCount = cmsgpack.pack(positions.list), table.concat(pieces), #pieces
end
local unpublished = ""
if bodiesCount > 0 then
  unpublished = failure(redis.pcall(publish, bus, head .. listed .. arrayHead(bodiesCount) .. bodies)) or ""
end
-- As one text: a list of Redis's costs the reader a microsecond an item.
return { answered, trouble, unpublished }
