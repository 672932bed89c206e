-- Queues payloads of expired leases again, first in line; makes dead letters of those taken too often, unless
-- another copy of theirs was answered: whoever takes that one next drops it, and tells who may still wait.
-- Returns the number queued again, then the payloads that are letters now. The lock keeps reapers from repeating
-- each other.

if not redis.call('SET', lock, worker, 'NX', 'PX', lock_ms) then
  return {0}
end
local result = {0}
for _, payload in ipairs(redis.call('ZRANGEBYSCORE', books.leases, '-inf', now_ms(), 'LIMIT', 0, 100)) do
  local times, queue = times_and_queue(books, payload)
  local id = payload:match(id_pattern)
  if times < max_attempts or (id and redis.call('EXISTS', done_format:format(id)) == 1) then
    if requeue(books, payload) then
      result[1] = result[1] + 1
    end
  else
    local reason = 'taken ' .. times .. ' times and never answered'
    add_letter(letters, letters_kept, id or '', reason, times, queue or '', payload)
    redis.call('LREM', books.processing, 0, payload)
    redis.call('ZREM', books.leases, payload)
    redis.call('HDEL', books.attempts, payload)
    result[#result + 1] = payload
  end
end
return result
