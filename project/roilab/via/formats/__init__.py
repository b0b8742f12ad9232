"""A reader for each annotation format: the content of a file -> records."""
