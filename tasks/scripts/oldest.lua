-- Since when the first in line of a leg's lists have waited: the earliest time, in ms since 1970, that their senders
-- name, or 0 where nothing waits or no sender says when.
-- In a JSON text that stands in another one quotes are escaped, so no program can pass for its sender.

local earliest = 0
for _, queue in ipairs(queues) do
  local first = redis.call('LINDEX', queue, place) or ''
  local _, before = first:find(text_before, 1, true)
  local at = tonumber(before and first:match('^%s*(%d+)', before + 1) or '0')
  if at > 0 and (earliest == 0 or at < earliest) then earliest = at end
end
return earliest
