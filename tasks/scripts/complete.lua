-- Ends a claimed run with an answer or a fault. Returns 1 when this call reported it.
-- The first answer wins, and is kept until its asker has it in the ledger.
-- A fault is told only while nobody answered and nobody else has the run.

local holder = redis.call('GET', claim)
if holder == token then
  redis.call('DEL', claim)
end
if books then
  settle(books, payload)
end

local is_answered = redis.call('EXISTS', done) == 1
if kind == 'answer' and is_answered then
  redis.call('HINCRBY', duplicates, leg, 1)
  return 0
elseif is_answered or (kind == 'fault' and holder and holder ~= token) then
  return 0
end
local report = {body, worker, taken_at, finished_at}
local entry = tell(replies, run_id, leg, kind, report)
if kind == 'answer' then
  redis.call('SET', done, cmsgpack.pack({told = replies, entry = entry, report = report}), 'PX', result_ttl_ms)
end
return 1
