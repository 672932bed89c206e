"""One module for each command or group of commands; what takes long to import is imported when it runs."""
