-- Lets what has waited long in its list rise to the next one. Returns how many rose, or -1 when it is not time yet.
-- The memory is a hash. first:<queue> has hashes of what was first in the queue at the last tick: whatever of that is
-- still there has waited for a period. risen:<queue> has what rose there last: while that waits, nothing follows it.

if not redis.call('SET', lock, '1', 'NX', 'PX', period_ms) then
  return -1
end
local tail = head == 'LEFT' and 'RIGHT' or 'LEFT'

-- The hashes of the first in `queue`, in the order in which they are taken. What a run is called comes early in it, so
-- its beginning tells it from others; to hash megabytes would hold everybody up.
local function first_in(queue)
  local found = {}
  for place = 0, rising - 1 do
    local element = redis.call('LINDEX', queue, head == 'LEFT' and place or -1 - place)
    if not element then break end
    found[#found + 1] = redis.sha1hex(#element .. element:sub(1, 512))
  end
  return found
end

-- How many of the first have waited: up to the last that was there a period ago, since their order must not change.
local function waited_in(queue)
  local known, number = redis.call('HGET', memory, 'first:' .. queue) or '', 0
  for place, hash in ipairs(first_in(queue)) do
    if known:find(hash, 1, true) then number = place end
  end
  return number
end

-- From the most urgent down: what rises out of a queue makes room for what follows it.
local count = 0
for i = 2, #queues do
  local from, to = queues[i], queues[i - 1]
  local last = redis.call('HGET', memory, 'risen:' .. to)
  if not (last and redis.call('LPOS', to, last)) then
    local number = waited_in(from)
    for _ = 1, number do last = redis.call('LMOVE', from, to, head, tail) end
    if number > 0 then redis.call('HSET', memory, 'risen:' .. to, last) end
    count = count + number
  end
end
for i = 2, #queues do
  redis.call('HSET', memory, 'first:' .. queues[i], table.concat(first_in(queues[i]), ' '))
end
redis.call('PEXPIRE', memory, 10 * period_ms)
return count
