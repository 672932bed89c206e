-- Prolongs live claims, and the queue leases that go with them. Returns how many are still ours.

local kept = 0
for i, claim in ipairs(claims) do
  if redis.call('GET', claim) == tokens[i] then
    redis.call('PEXPIRE', claim, lease_ms)
    kept = kept + 1
    if leases then
      redis.call('ZADD', leases, 'XX', now_ms() + queue_lease_ms, payloads[i])
    end
  end
end
return kept
