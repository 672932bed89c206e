-- Bookkeeping of the legacy queue, shared by the scripts below it.
-- Equal payloads (one run sent twice) share one lease and one entry under attempts,
-- "<times taken>:<queue it came from>"; both stay until the last copy is gone.

local function settle(processing, leases, attempts, payload)
  redis.call('LREM', processing, 1, payload)
  if not redis.call('LPOS', processing, payload) then
    redis.call('ZREM', leases, payload)
    redis.call('HDEL', attempts, payload)
  end
end

local function times_and_queue(attempts, payload)
  local entry = redis.call('HGET', attempts, payload)
  if not entry then return 0, nil end
  local times, queue = entry:match('^(%d+):(.*)$')
  return tonumber(times), queue
end

-- Puts a taken payload back where the next take finds it; copies become one.
local function requeue(processing, leases, attempts, payload)
  local _, queue = times_and_queue(attempts, payload)
  redis.call('ZREM', leases, payload)
  if redis.call('LREM', processing, 0, payload) > 0 and queue then
    redis.call('LPUSH', queue, payload)
    return true
  end
  return false
end

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

-- Tells what came of a run where it is awaited; returns the entry's id. `report`: body, worker, taken at, finished at.
local function tell(stream, ttl_s, length, run_id, leg, kind, report)
  local entry = redis.call('XADD', stream, 'MAXLEN', '~', length, '*',
    'id', run_id, 'leg', leg, 'kind', kind, kind == 'answer' and 'observation' or 'fault', report[1],
    'worker', report[2], 'taken_at', report[3], 'finished_at', report[4])
  redis.call('EXPIRE', stream, ttl_s)
  return entry
end
