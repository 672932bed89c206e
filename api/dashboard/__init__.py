"""The dashboard: pages for people, behind a session. Like the API beside it, without rules of its own."""
