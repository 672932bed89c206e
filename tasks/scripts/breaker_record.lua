-- Takes outcomes of calls into account. Returns '', 'opened', 'closed' or 'open'.
-- KEYS: circuit, place of the probe
-- ARGV: token of the probe or '', successes, failures, jitter,
--       ratio, minimum, window in ms, open in ms, longest open in ms, slots of the window
-- The circuit is a hash. Closed: s<slot> and f<slot> count successes and failures. Open: until,
-- times (in a row), and the failures and volume that opened it.

local token, successes, failures = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local window_ms, slots = tonumber(ARGV[7]), tonumber(ARGV[10])
local now = now_ms()

local function open(failed, volume)
  local times = tonumber(redis.call('HGET', KEYS[1], 'times') or '0') + 1
  local ms = math.min(tonumber(ARGV[8]) * 2 ^ math.min(times - 1, 30), tonumber(ARGV[9]))
  ms = math.floor(ms * tonumber(ARGV[4]))
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'until', now + ms, 'times', times, 'failures', failed, 'volume', volume)
  -- Nobody needs a circuit that nobody has asked for so long.
  redis.call('PEXPIRE', KEYS[1], ms + 10 * tonumber(ARGV[9]))
  return 'opened'
end

local is_open = redis.call('HEXISTS', KEYS[1], 'until') == 1
if token ~= '' then
  if redis.call('GET', KEYS[2]) ~= token then
    return is_open and 'open' or ''
  end
  redis.call('DEL', KEYS[2])
  if failures > 0 then
    return open(failures, failures)
  elseif successes > 0 then
    redis.call('DEL', KEYS[1])
    return 'closed'
  end
  return 'open'
elseif is_open then
  return 'open'
end

local slot = math.floor(now * slots / window_ms)
redis.call('HINCRBY', KEYS[1], 's' .. slot, successes)
redis.call('HINCRBY', KEYS[1], 'f' .. slot, failures)
redis.call('PEXPIRE', KEYS[1], 2 * window_ms)
local entries, good, bad = redis.call('HGETALL', KEYS[1]), 0, 0
for i = 1, #entries, 2 do
  local kind, number = entries[i]:match('^([sf])(%d+)$')
  if tonumber(number) <= slot - slots then
    redis.call('HDEL', KEYS[1], entries[i])
  elseif kind == 's' then
    good = good + tonumber(entries[i + 1])
  else
    bad = bad + tonumber(entries[i + 1])
  end
end
if failures > 0 and good + bad >= tonumber(ARGV[6]) and bad >= tonumber(ARGV[5]) * (good + bad) then
  return open(bad, good + bad)
end
return ''
