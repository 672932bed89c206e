-- Gives a run back unanswered: its claim is dropped and a legacy payload is queued again, first in line.
-- KEYS: claim [, processing, leases, attempts]
-- ARGV: token [, payload]

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if KEYS[2] then
  requeue(KEYS[2], KEYS[3], KEYS[4], ARGV[2])
end
return 1
