-- Claims a run for one worker. Returns 'claimed', 'held' or 'answered'.
-- KEYS: claim, done [, processing, leases, attempts]
-- ARGV: token, lease in ms [, payload]
-- The same token may claim again: a client that lost the reply sends the command twice.
-- A legacy payload that is not claimed leaves the queue's books at once.

local state
if redis.call('EXISTS', KEYS[2]) == 1 then
  state = 'answered'
elseif redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  state = 'claimed'
elseif redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  state = 'claimed'
else
  state = 'held'
end
if state ~= 'claimed' and KEYS[3] then
  settle(KEYS[3], KEYS[4], KEYS[5], ARGV[3])
end
return state
