-- Claims a run for one worker. Returns 'claimed', 'cancelled', 'held' or 'answered'.
-- The same token may claim again: a client that lost the reply sends the command twice.
-- What was answered is told once more where it is awaited elsewhere now, since whoever took a run over sends
-- it again, and where what was told is no longer to be read.
-- A legacy payload that is held or was answered leaves the queue's books at once; one that was
-- cancelled does so when its worker reports that.

local state
local answer = redis.call('GET', done)
if answer then
  state = 'answered'
  local kept = answer ~= '' and cmsgpack.unpack(answer)
  if kept and (kept.told ~= replies or #redis.call('XRANGE', replies, kept.entry, kept.entry) == 0) then
    kept.told = replies
    kept.entry = tell(replies, run_id, leg, 'answer', kept.report)
    redis.call('SET', done, cmsgpack.pack(kept), 'KEEPTTL')
  end
elseif redis.call('EXISTS', run_mark, evaluation_mark) > 0 then
  return 'cancelled'
elseif redis.call('SET', claim, token, 'NX', 'PX', lease_ms) then
  state = 'claimed'
elseif redis.call('GET', claim) == token then
  redis.call('PEXPIRE', claim, lease_ms)
  state = 'claimed'
else
  state = 'held'
end
if state ~= 'claimed' and books then
  settle(books, payload)
end
return state
