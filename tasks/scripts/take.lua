-- Takes the first payload of the first queue that has one. Returns it, or nil.

for _, queue in ipairs(queues) do
  local payload = redis.call('LMOVE', queue, books.processing, 'LEFT', 'RIGHT')
  if payload then
    local times = times_and_queue(books, payload)
    redis.call('ZADD', books.leases, now_ms() + lease_ms, payload)
    redis.call('HSET', books.attempts, payload, (times + 1) .. ':' .. queue)
    return payload
  end
end
return nil
