-- Makes a dead letter of a taken payload that nobody can read.

local times, queue = times_and_queue(books, payload)
add_letter(letters, letters_kept, '', reason, times, queue or '', payload)
settle(books, payload)
