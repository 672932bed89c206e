"""The command line: the other way in. Like ``api``, it has no rules of its own."""
