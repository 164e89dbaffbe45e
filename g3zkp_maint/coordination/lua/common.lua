-- Time is the server's own, in milliseconds: machines need not agree on theirs.
-- Numbers leave Lua through `text`: its own conversion keeps 14 digits only.

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- A holding is kept as "mode token since expires", by owner.
local function parse_holding(value)
  local mode, token, since, expires = string.match(value, '^(%a+) (%d+) (%d+) (%d+)$')
  return {mode = mode, token = token, since = since, expires = tonumber(expires)}
end

local function write_holding(key, owner, holding)
  local value = holding.mode .. ' ' .. holding.token .. ' ' .. holding.since .. ' ' .. text(holding.expires)
  redis.call('HSET', key, owner, value)
end

-- The live holdings of a lease by owner; those past their time are removed on the way.
local function read_holdings(key, now)
  local found = {}
  local latest = 0
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local holding = parse_holding(flat[i + 1])
    if holding.expires > now then
      found[flat[i]] = holding
      latest = math.max(latest, holding.expires)
    else
      redis.call('HDEL', key, flat[i])
    end
  end
  return found, latest
end

-- Lets the key end with its last holder, and puts the resource into the index of leases.
local function keep_until_last(index, key, resource, now)
  local _, latest = read_holdings(key, now)
  if latest == 0 then
    redis.call('ZREM', index, resource)
  else
    redis.call('PEXPIREAT', key, text(latest))
    redis.call('ZADD', index, text(latest), resource)
  end
end
