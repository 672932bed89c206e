"""The way in over HTTP: a program is posted, both legs run it, the comparison comes back. No rules here."""
