-- Takes the first payload of the first queue that has one. Returns it, or nil.
-- KEYS: processing, leases, attempts, queues (most urgent first)
-- ARGV: queue lease in ms

for i = 4, #KEYS do
  local payload = redis.call('LMOVE', KEYS[i], KEYS[1], 'LEFT', 'RIGHT')
  if payload then
    local times = times_and_queue(KEYS[3], payload)
    redis.call('ZADD', KEYS[2], now_ms() + tonumber(ARGV[1]), payload)
    redis.call('HSET', KEYS[3], payload, (times + 1) .. ':' .. KEYS[i])
    return payload
  end
end
return nil
