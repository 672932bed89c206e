-- Dead letters of one leg: a stream whose entries are numbered from 1, the oldest dropped.

local function add_letter(letters, kept, run_id, reason, taken, queue, payload)
  local id = redis.call('INCR', letters.number) .. '-0'
  redis.call('XADD', letters.stream, 'MAXLEN', kept, id, 'run_id', run_id, 'reason', reason,
    'at', now_ms(), 'taken', taken, 'queue', queue, 'payload', payload)
end
