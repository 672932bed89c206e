-- Takes waiting payloads out of the legacy queue by their run ids. Returns how many.

local wanted, count = set_of(run_ids), 0
for _, queue in ipairs(queues) do
  for _, payload in ipairs(take_out(queue, id_pattern, wanted)) do
    redis.call('HDEL', attempts, payload)
    count = count + 1
  end
end
return count
