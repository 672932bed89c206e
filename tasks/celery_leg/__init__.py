"""The leg that traffic moves to: Celery on a Redis of its own."""
