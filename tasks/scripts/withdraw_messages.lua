-- Takes Celery's messages out of the broker by the ids of their runs. Returns how many.
-- KEYS: unacknowledged messages by tag, index of the tags, queues
-- ARGV: pattern that captures the id of a message, run ids
-- Those a worker holds go, too: it drops them at its claim, and if it has died nobody would hand them out again.

local wanted, count = ids_from(2), 0
for i = 3, #KEYS do
  count = count + #take_out(KEYS[i], ARGV[1], wanted)
end
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local id = held[i + 1]:match(ARGV[1])
  if id and wanted[id] then
    redis.call('HDEL', KEYS[1], held[i])
    redis.call('ZREM', KEYS[2], held[i])
    count = count + 1
  end
end
return count
