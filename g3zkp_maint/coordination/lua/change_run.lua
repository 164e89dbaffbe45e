-- Replaces the record of a run, if nobody else has changed it since it was read.
-- KEYS: the record, index of open runs, index of recent runs
-- ARGV: the version that was read (0: there was no record), name in the indexes, time of the change (ms),
--       'open' or 'ended', how long ended records are kept (ms), a unique name of this change,
--       then the fields and values of the new record
-- Answer: 1, or 0 where the record is another by now

-- The client sends a change again when its answer was lost on the way.
if redis.call('HGET', KEYS[1], 'change') == ARGV[6] then return 1 end

local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'change', ARGV[6])
for i = 7, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
local name, at, keep = ARGV[2], ARGV[3], ARGV[5]
if ARGV[4] == 'open' then
  redis.call('ZADD', KEYS[2], at, name)
else
  redis.call('ZREM', KEYS[2], name)
  redis.call('PEXPIRE', KEYS[1], keep)
end
redis.call('ZADD', KEYS[3], at, name)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. text(tonumber(at) - tonumber(keep)))
return 1
