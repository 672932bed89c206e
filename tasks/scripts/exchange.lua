-- Replaces a text that is as expected. Returns whether it was (0 or 1), the text as it is now, and the time in ms.
-- Where there is none it is the empty text.

local kept = redis.call('GET', text) or ''
if kept ~= expected then
  return {0, kept, now_ms()}
end
if kept ~= wanted then
  redis.call('SET', text, wanted, 'PX', ttl_ms)
end
return {1, wanted, now_ms()}
