-- Keeps the place of a probe that goes on. Returns 1 when it is still its own.
-- KEYS: place of the probe
-- ARGV: token, ms for which the place is kept

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
