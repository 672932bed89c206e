-- Prolongs live claims, and the queue leases that go with them. Returns how many are still ours.
-- KEYS: claim of each run [, leases]
-- ARGV: lease in ms, queue lease in ms, number of claims, token of each run [, payload of each run]

local count, kept = tonumber(ARGV[3]), 0
local leases = KEYS[count + 1]
for i = 1, count do
  if redis.call('GET', KEYS[i]) == ARGV[3 + i] then
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
    kept = kept + 1
    if leases then
      redis.call('ZADD', leases, 'XX', now_ms() + tonumber(ARGV[2]), ARGV[3 + count + i])
    end
  end
end
return kept
