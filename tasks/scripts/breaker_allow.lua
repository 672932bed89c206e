-- Whether a call may pass a circuit that processes share. Returns {'pass' | 'probe' | 'wait', ms to wait}.
-- KEYS: circuit, place of the probe
-- ARGV: token, ms for which the place is kept

local till = redis.call('HGET', KEYS[1], 'until')
if not till then
  return {'pass', 0}
end
local left = tonumber(till) - now_ms()
if left > 0 then
  return {'wait', left}
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {'probe', 0}
end
return {'wait', redis.call('PTTL', KEYS[2])}
