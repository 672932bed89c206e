"""The executor as an HTTP service: executor-1, executor-2, executor-3."""
