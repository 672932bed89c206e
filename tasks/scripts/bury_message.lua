-- Makes a dead letter of one of Celery's messages.
-- KEYS: number, letters
-- ARGV: most letters, run id or '', reason, times taken, queue, message

add_letter(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
