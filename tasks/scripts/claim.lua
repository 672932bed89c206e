-- Claims a run for one worker. Returns 'claimed', 'cancelled', 'held' or 'answered'.
-- KEYS: claim, done, mark of the run, mark of its evaluation, reply stream [, processing, leases, attempts]
-- ARGV: token, lease in ms, stream ttl in s, stream length, run id, leg [, payload]
-- The same token may claim again: a client that lost the reply sends the command twice.
-- What was answered is told once more where it is awaited elsewhere now, since whoever took a run over sends
-- it again, and where what was told is no longer to be read.
-- A legacy payload that is held or was answered leaves the queue's books at once; one that was
-- cancelled does so when its worker reports that.

local state
local answer = redis.call('GET', KEYS[2])
if answer then
  state = 'answered'
  local kept = answer ~= '' and cmsgpack.unpack(answer)
  if kept and (kept.told ~= KEYS[5] or #redis.call('XRANGE', KEYS[5], kept.entry, kept.entry) == 0) then
    kept.told = KEYS[5]
    kept.entry = tell(KEYS[5], ARGV[3], ARGV[4], ARGV[5], ARGV[6], 'answer', kept.report)
    redis.call('SET', KEYS[2], cmsgpack.pack(kept), 'KEEPTTL')
  end
elseif redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  return 'cancelled'
elseif redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  state = 'claimed'
elseif redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  state = 'claimed'
else
  state = 'held'
end
if state ~= 'claimed' and KEYS[6] then
  settle(KEYS[6], KEYS[7], KEYS[8], ARGV[7])
end
return state
