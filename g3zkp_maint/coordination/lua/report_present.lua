-- Notes that a worker is there, by the server's clock, and forgets those that have been gone for long.
-- KEYS: the workers of a queue (sorted set: worker -> seconds since the epoch)
-- ARGV: the worker, and after how many seconds one that is gone is forgotten

local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return now
