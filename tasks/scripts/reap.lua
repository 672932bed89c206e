-- Queues payloads of expired leases again, first in line; buries those that were taken too often.
-- Returns the number queued again, then the buried payloads. The lock keeps reapers from repeating each other.
-- KEYS: lock, processing, leases, attempts, dead
-- ARGV: worker, lock in ms, most times a payload is taken, length of the dead list

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {0}
end
local result = {0}
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now_ms(), 'LIMIT', 0, 100)) do
  local times = times_and_queue(KEYS[4], payload)
  if times < tonumber(ARGV[3]) then
    if requeue(KEYS[2], KEYS[3], KEYS[4], payload) then
      result[1] = result[1] + 1
    end
  else
    redis.call('LREM', KEYS[2], 0, payload)
    redis.call('ZREM', KEYS[3], payload)
    redis.call('HDEL', KEYS[4], payload)
    redis.call('LPUSH', KEYS[5], payload)
    result[#result + 1] = payload
  end
end
redis.call('LTRIM', KEYS[5], 0, tonumber(ARGV[4]) - 1)
return result
