-- Takes Celery's messages out of the broker by the ids of their runs. Returns how many.
-- Those a worker holds go, too: it drops them at its claim, and if it has died nobody would hand them out again.

local wanted, count = set_of(run_ids), 0
for _, queue in ipairs(queues) do
  count = count + #take_out(queue, id_pattern, wanted)
end
local held = redis.call('HGETALL', unacked)
for i = 1, #held, 2 do
  local id = held[i + 1]:match(id_pattern)
  if id and wanted[id] then
    redis.call('HDEL', unacked, held[i])
    redis.call('ZREM', unacked_index, held[i])
    count = count + 1
  end
end
return count
