-- Makes a dead letter of a taken payload that nobody can read.
-- KEYS: processing, leases, attempts, number, letters
-- ARGV: payload, reason, most letters

local times, queue = times_and_queue(KEYS[3], ARGV[1])
add_letter(KEYS[4], KEYS[5], ARGV[3], '', ARGV[2], times, queue or '', ARGV[1])
settle(KEYS[1], KEYS[2], KEYS[3], ARGV[1])
