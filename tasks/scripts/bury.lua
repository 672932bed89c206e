-- Moves a taken payload that nobody can read to the dead letters.
-- KEYS: processing, leases, attempts, dead
-- ARGV: payload, length of the dead list

settle(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
redis.call('LPUSH', KEYS[4], ARGV[1])
redis.call('LTRIM', KEYS[4], 0, tonumber(ARGV[2]) - 1)
