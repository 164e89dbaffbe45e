-- Moves an entry on to the slot just dispatched, if it stands where the dispatcher believes it to stand.
-- KEYS[1] where the entry stands; ARGV[1] the slot expected there ('' for none), ARGV[2] the new one.
-- 1 when moved, or there already (the call was repeated after a lost answer); else 0.
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[2] then
  return 1
end
if found ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
