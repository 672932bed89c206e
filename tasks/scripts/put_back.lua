-- Puts a dead letter's payload on its queue and removes the letter. Returns 0 when there is none (any more).
-- It is counted from the beginning again: its count ended when it became a letter.

local entry = redis.call('XRANGE', letters, entry_id, entry_id)[1]
if not entry then
  return 0
end
local fields = entry[2]
for i = 1, #fields, 2 do
  if fields[i] == 'payload' then
    redis.call(push, queue, fields[i + 1])
  end
end
return redis.call('XDEL', letters, entry_id)
