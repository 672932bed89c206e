-- Puts a dead letter's payload on its queue and removes the letter. Returns 0 when there is none (any more).
-- It is counted from the beginning again: its count ended when it became a letter.
-- KEYS: letters, queue
-- ARGV: id of the entry, RPUSH or LPUSH (whatever makes it the last in line)

local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then
  return 0
end
local fields = entry[2]
for i = 1, #fields, 2 do
  if fields[i] == 'payload' then
    redis.call(ARGV[2], KEYS[2], fields[i + 1])
  end
end
return redis.call('XDEL', KEYS[1], ARGV[1])
