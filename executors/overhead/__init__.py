"""What a sandbox adds to a program: measured here, one process away from the benchmark that shows it."""
