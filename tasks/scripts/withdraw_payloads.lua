-- Takes waiting payloads out of the legacy queue by their run ids. Returns how many.
-- KEYS: attempts, queues
-- ARGV: pattern that captures the id of a payload, run ids

local wanted, count = ids_from(2), 0
for i = 2, #KEYS do
  for _, payload in ipairs(take_out(KEYS[i], ARGV[1], wanted)) do
    redis.call('HDEL', KEYS[1], payload)
    count = count + 1
  end
end
return count
