-- Appends a record to the journal, if the record before it is the one that it names.
-- KEYS: the stream, the head (number and digest of the last record), the anchor (number of the first record kept and
--       the digest of the one before it)
-- ARGV: digest of the record before, digest of this record, its number, the cap, then fields and values
-- Answer: {'appended', stream id} or {'moved', number of the last record, its digest}

local head = redis.call('HMGET', KEYS[2], 'number', 'digest')
local number, digest = head[1] or '0', head[2] or ''
if digest ~= ARGV[1] then return {'moved', number, digest} end

local before = redis.call('XLEN', KEYS[1])
local command = {'XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*'}
for i = 5, #ARGV do command[#command + 1] = ARGV[i] end
local id = redis.call(unpack(command))
redis.call('HSET', KEYS[2], 'number', ARGV[3], 'digest', ARGV[2])

-- The anchor moves by as many records as the cap took, so records taken away by others leave it behind for good.
local cut = before + 1 - redis.call('XLEN', KEYS[1])
if cut > 0 then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][2]
  redis.call('HINCRBY', KEYS[3], 'cut', cut)
  for i = 1, #first, 2 do
    if first[i] == 'before' then redis.call('HSET', KEYS[3], 'digest', first[i + 1]) end
  end
end
return {'appended', id}
