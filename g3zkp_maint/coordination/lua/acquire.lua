-- Takes several resources, all or none; what cannot be had now is queued for.
-- KEYS: index of leases, counter of places, then for each resource: its lease, its fence, its waiters
-- ARGV: owner, time to live (ms), how long a place in the queue lasts (ms, 0: do not queue),
--       then for each resource: its name, the mode wanted
-- Answer: {'granted', server time, token of each resource ...}
--      or {'busy', server time, name, 'held' or 'awaited', by whom, their mode, since (ms)}
-- A place is kept as "place mode expires since", by owner.

local owner, ttl, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local count = (#KEYS - 2) / 3
local now = now_ms()

local function conflict(one, other)
  return one == 'exclusive' or other == 'exclusive'
end

local function read_waiters(key)
  local found = {}
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local place, mode, expires, since = string.match(flat[i + 1], '^(%d+) (%a+) (%d+) (%d+)$')
    if tonumber(expires) > now then
      found[flat[i]] = {place = tonumber(place), mode = mode, since = since}
    else
      redis.call('HDEL', key, flat[i])
    end
  end
  return found
end

local wants = {}
local place, waiting_since
for i = 1, count do
  local want = {lease = KEYS[3 * i], fence = KEYS[3 * i + 1], queue = KEYS[3 * i + 2],
                name = ARGV[2 + 2 * i], mode = ARGV[3 + 2 * i]}
  want.holdings = read_holdings(want.lease, now)
  want.waiters = read_waiters(want.queue)
  local mine = want.waiters[owner]
  if mine and (not place or mine.place < place) then
    place, waiting_since = mine.place, mine.since
  end
  wants[i] = want
end

local function find_obstacle(want)
  for who, holding in pairs(want.holdings) do
    if who ~= owner and conflict(holding.mode, want.mode) then
      return {'busy', text(now), want.name, 'held', who, holding.mode, holding.since}
    end
  end
  -- Whoever waits in front waits for this owner's own holding, among others: to stand back would block both.
  if want.holdings[owner] then return nil end
  for who, waiter in pairs(want.waiters) do
    local is_in_front = not place or waiter.place < place
    if who ~= owner and is_in_front and conflict(waiter.mode, want.mode) then
      return {'busy', text(now), want.name, 'awaited', who, waiter.mode, waiter.since}
    end
  end
  return nil
end

local function queue_up()
  place = place or redis.call('INCR', KEYS[2])
  local value_end = ' ' .. text(now + patience) .. ' ' .. (waiting_since or text(now))
  for _, want in ipairs(wants) do
    redis.call('HSET', want.queue, owner, text(place) .. ' ' .. want.mode .. value_end)
    redis.call('PEXPIRE', want.queue, text(patience))
  end
end

-- A fence that is not there was lost with the server's data, or is new. It starts at the present millisecond, so that
-- tokens rise also across such a loss.
local function next_token(fence)
  local token = redis.call('INCR', fence)
  if token == 1 then
    token = now
    redis.call('SET', fence, text(token))
  end
  return text(token)
end

for _, want in ipairs(wants) do
  local obstacle = find_obstacle(want)
  if obstacle then
    if patience > 0 then queue_up() end
    return obstacle
  end
end

local answer = {'granted', text(now)}
for _, want in ipairs(wants) do
  local token = next_token(want.fence)
  write_holding(want.lease, owner, {mode = want.mode, token = token, since = text(now), expires = now + ttl})
  redis.call('HDEL', want.queue, owner)
  keep_until_last(KEYS[1], want.lease, want.name, now)
  answer[#answer + 1] = token
end
return answer
