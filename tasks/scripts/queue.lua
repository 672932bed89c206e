-- Bookkeeping of the legacy queue.
-- Equal payloads (one run sent twice) share one lease and one entry under attempts,
-- "<times taken>:<queue it came from>"; both stay until the last copy is gone.

local function settle(books, payload)
  redis.call('LREM', books.processing, 1, payload)
  if not redis.call('LPOS', books.processing, payload) then
    redis.call('ZREM', books.leases, payload)
    redis.call('HDEL', books.attempts, payload)
  end
end

local function times_and_queue(books, payload)
  local entry = redis.call('HGET', books.attempts, payload)
  if not entry then return 0, nil end
  local times, queue = entry:match('^(%d+):(.*)$')
  return tonumber(times), queue
end

-- Puts a taken payload back where the next take finds it; copies become one.
local function requeue(books, payload)
  local _, queue = times_and_queue(books, payload)
  redis.call('ZREM', books.leases, payload)
  if redis.call('LREM', books.processing, 0, payload) > 0 and queue then
    redis.call('LPUSH', queue, payload)
    return true
  end
  return false
end
