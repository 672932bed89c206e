-- Claims a run for one worker. Returns 'claimed', 'cancelled', 'held' or 'answered'.
-- KEYS: claim, done, mark of the run, mark of its evaluation [, processing, leases, attempts]
-- ARGV: token, lease in ms [, payload]
-- The same token may claim again: a client that lost the reply sends the command twice.
-- A legacy payload that is held or was answered leaves the queue's books at once; one that was
-- cancelled does so when its worker reports that.

local state
if redis.call('EXISTS', KEYS[2]) == 1 then
  state = 'answered'
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
if state ~= 'claimed' and KEYS[5] then
  settle(KEYS[5], KEYS[6], KEYS[7], ARGV[3])
end
return state
