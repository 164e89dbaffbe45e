-- Renews (or, with a time to live of 0, only checks) all resources of one lease, all or none.
-- KEYS: index of leases, then the lease of each resource
-- ARGV: owner, time to live (ms), then for each resource: its name, its token
-- Answer: '' or the name of a resource that is no longer held with that token

local owner, ttl = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local mine = {}

for i = 2, #KEYS do
  local holding = read_holdings(KEYS[i], now)[owner]
  if not holding or holding.token ~= ARGV[2 * i] then return ARGV[2 * i - 1] end
  mine[i] = holding
end
if ttl == 0 then return '' end
for i, holding in pairs(mine) do
  holding.expires = now + ttl
  write_holding(KEYS[i], owner, holding)
  keep_until_last(KEYS[1], KEYS[i], ARGV[2 * i - 1], now)
end
return ''
