"""The report of a sweep: what was found, for a reader, a browser and a machine."""
