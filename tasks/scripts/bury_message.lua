-- Makes a dead letter of one of Celery's messages.

add_letter(letters, letters_kept, run_id, reason, taken, queue, message)
