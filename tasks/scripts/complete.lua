-- Ends a claimed run with an answer or a fault. Returns 1 when this call reported it.
-- KEYS: done, claim, duplicates, reply stream [, processing, leases, attempts]
-- ARGV: token, result ttl in ms, stream ttl in s, stream length,
--       run id, leg, kind, body, worker, taken at, finished at [, payload]
-- The first answer wins, and is kept until its asker has it in the ledger.
-- A fault is told only while nobody answered and nobody else has the run.

local token, kind = ARGV[1], ARGV[7]
local holder = redis.call('GET', KEYS[2])
if holder == token then
  redis.call('DEL', KEYS[2])
end
if KEYS[5] then
  settle(KEYS[5], KEYS[6], KEYS[7], ARGV[12])
end

local is_answered = redis.call('EXISTS', KEYS[1]) == 1
if kind == 'answer' and is_answered then
  redis.call('HINCRBY', KEYS[3], ARGV[6], 1)
  return 0
elseif is_answered or (kind == 'fault' and holder and holder ~= token) then
  return 0
end
local report = {ARGV[8], ARGV[9], ARGV[10], ARGV[11]}
local entry = tell(KEYS[4], ARGV[3], ARGV[4], ARGV[5], ARGV[6], kind, report)
if kind == 'answer' then
  redis.call('SET', KEYS[1], cmsgpack.pack({told = KEYS[4], entry = entry, report = report}), 'PX', ARGV[2])
end
return 1
