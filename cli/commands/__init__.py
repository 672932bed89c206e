"""One module for each command; what takes long to import is imported when it runs."""
