-- Gives resources back, each only where it is still held with that token.
-- KEYS: index of leases, then the lease of each resource
-- ARGV: owner, then for each resource: its name, its token
-- Answer: how many were given back

local owner = ARGV[1]
local now = now_ms()
local released = 0

for i = 2, #KEYS do
  local holding = read_holdings(KEYS[i], now)[owner]
  if holding and holding.token == ARGV[2 * i - 1] then
    released = released + redis.call('HDEL', KEYS[i], owner)
    keep_until_last(KEYS[1], KEYS[i], ARGV[2 * i - 2], now)
  end
end
return released
