"""What the command line shows: progress on standard error, results on standard output."""
