-- Tells what came of a run where it is awaited; returns the entry's id. `report`: body, worker, taken at, finished at.
-- The oldest of 100,000 entries go, and a stream to which nothing is added for a day.
local function tell(stream, run_id, leg, kind, report)
  local entry = redis.call('XADD', stream, 'MAXLEN', '~', 100000, '*',
    'id', run_id, 'leg', leg, 'kind', kind, kind == 'answer' and 'observation' or 'fault', report[1],
    'worker', report[2], 'taken_at', report[3], 'finished_at', report[4])
  redis.call('EXPIRE', stream, 86400)
  return entry
end
