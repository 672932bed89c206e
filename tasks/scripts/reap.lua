-- Queues payloads of expired leases again, first in line; makes dead letters of those taken too often, unless
-- another copy of theirs was answered: whoever takes that one next drops it, and tells who may still wait.
-- Returns the number queued again, then the payloads that are letters now. The lock keeps reapers from repeating
-- each other.
-- KEYS: lock, processing, leases, attempts, number, letters
-- ARGV: worker, lock in ms, most times a payload is taken, most letters, pattern that captures the id of a payload,
--       done key with the id as %s

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {0}
end
local result = {0}
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms(), 'LIMIT', 0, 100)) do
  local times, queue = times_and_queue(KEYS[4], payload)
  local id = payload:match(ARGV[5])
  if times < tonumber(ARGV[3]) or (id and redis.call('EXISTS', ARGV[6]:format(id)) == 1) then
    if requeue(KEYS[2], KEYS[3], KEYS[4], payload) then
      result[1] = result[1] + 1
    end
  else
    local reason = 'taken ' .. times .. ' times and never answered'
    add_letter(KEYS[5], KEYS[6], ARGV[4], id or '', reason, times, queue or '', payload)
    redis.call('LREM', KEYS[2], 0, payload)
    redis.call('ZREM', KEYS[3], payload)
    redis.call('HDEL', KEYS[4], payload)
    result[#result + 1] = payload
  end
end
return result
