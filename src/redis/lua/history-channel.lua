-- The state of a channel with history: its epoch and its last offset. The scripts of history begin with this text.
--
-- meta is a hash: epoch, replid (the server's incarnation under which the epoch was given), top (the last
-- offset), marks and bytes (history-append.lua: what bounds the stream in bytes). It is written in the
-- script that appends, and outlives the stream, so offsets go on where they were when history has expired or was
-- evicted. The epoch ends, and with it what the stream
-- holds, when meta is missing or was written under another incarnation: a server that restarted
-- or took over may have lost what it had acknowledged, and master_replid changes with each
-- of these (run_id recurs after failover and failback).
-- A server that was stopped for a while runs on waking what waited in its sockets, perhaps after another has taken over:
-- what is done then is lost. So a call has a deadline, by this server's own clock in ms, and does nothing after it.
local function expired(deadlineMs)
  local time = redis.call("TIME")
  local lateMs = time[1] * 1000 + math.floor(time[2] / 1000) - deadlineMs
  return lateMs > 0 and redis.error_reply("EXPIRED " .. lateMs .. " ms late: nothing was done") or nil
end

local replid = string.match(redis.call("INFO", "replication"), "master_replid:(%x+)")

local function failure(reply)
  return type(reply) == "table" and reply.err or nil
end

-- Gives the channel a new epoch. fresh: one that no channel had before, from the caller: math.random repeats itself.
local function renew(channel, fresh)
  -- First what a server without memory refuses, while nothing has changed yet.
  channel.err = failure(redis.pcall("HSET", channel.meta, "epoch", fresh, "replid", replid, "top", 0))
    or failure(redis.pcall("UNLINK", channel.stream))
    or failure(redis.pcall("HDEL", channel.meta, "marks", "bytes"))
  channel.epoch, channel.top, channel.renewed = fresh, 0, true
  return channel
end

-- Returns {stream, meta, epoch, top, renewed}, or with err if Redis failed. peek: nothing is
-- stored of a channel that has no meta.
local function openChannel(stream, meta, fresh, peek)
  local channel = { stream = stream, meta = meta }
  local held = redis.pcall("HMGET", meta, "epoch", "replid", "top")
  channel.err = failure(held)
  if channel.err then
    return channel
  end
  channel.epoch, channel.top = held[1], tonumber(held[3] or nil)
  if peek and not channel.epoch then
    channel.epoch, channel.top, channel.peeked = fresh, 0, true
    return channel
  end
  if not channel.epoch or not channel.top or held[2] ~= replid then
    return renew(channel, fresh)
  end
  return channel
end

-- A channel that is used or looked at keeps its epoch and offsets. Not by a write each time: asking costs a
-- third of that and is not replicated. Returns an error or nil. SLACK_MS is half of POSITION_EXTRA_TTL_MS in history.ts, by which
-- ttlMs is longer than the history's own. emptyMs: for a channel that was never published to, as there is nothing but
-- its epoch to lose, and anybody may look at any number of names.
local SLACK_MS = 300000
local function extendTtl(channel, ttlMs, emptyMs)
  if channel.peeked then
    return nil
  end
  local slackMs = SLACK_MS
  if channel.top == 0 and emptyMs then
    ttlMs, slackMs = tonumber(emptyMs), emptyMs / 2
  end
  local leftMs = channel.renewed and -1 or redis.pcall("PTTL", channel.meta)
  if failure(leftMs) then
    return leftMs.err
  end
  if leftMs < ttlMs - slackMs then
    return failure(redis.pcall("PEXPIRE", channel.meta, ttlMs))
  end
end
