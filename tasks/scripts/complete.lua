-- Ends a claimed run with an answer or a fault. Returns 1 when this call reported it.
-- KEYS: done, claim, duplicates, reply stream [, processing, leases, attempts]
-- ARGV: token, result ttl in ms, stream ttl in s, stream length,
--       run id, leg, kind, body, worker, taken at, finished at [, payload]
-- The first answer wins. A fault is told only while nobody answered and nobody else has the run.

local token, kind = ARGV[1], ARGV[7]
local holder = redis.call('GET', KEYS[2])
if holder == token then
  redis.call('DEL', KEYS[2])
end
if KEYS[5] then
  settle(KEYS[5], KEYS[6], KEYS[7], ARGV[12])
end

local field = 'observation'
if kind == 'answer' then
  if not redis.call('SET', KEYS[1], ARGV[9], 'NX', 'PX', ARGV[2]) then
    redis.call('HINCRBY', KEYS[3], ARGV[6], 1)
    return 0
  end
else
  field = 'fault'
  if redis.call('EXISTS', KEYS[1]) == 1 or (holder and holder ~= token) then
    return 0
  end
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*',
  'id', ARGV[5], 'leg', ARGV[6], 'kind', kind, field, ARGV[8],
  'worker', ARGV[9], 'taken_at', ARGV[10], 'finished_at', ARGV[11])
redis.call('EXPIRE', KEYS[4], ARGV[3])
return 1
