-- Since when the first in line of a leg's lists have waited: the earliest time, in ms since 1970, that their senders
-- name, or 0 where nothing waits or no sender says when.
-- KEYS: lists
-- ARGV: place of the first in line (0 or -1), text before the time
-- In a JSON text that stands in another one quotes are escaped, so no program can pass for its sender.

local earliest = 0
for _, list in ipairs(KEYS) do
  local first = redis.call('LINDEX', list, ARGV[1]) or ''
  local _, before = first:find(ARGV[2], 1, true)
  local at = tonumber(before and first:match('^%s*(%d+)', before + 1) or '0')
  if at > 0 and (earliest == 0 or at < earliest) then earliest = at end
end
return earliest
