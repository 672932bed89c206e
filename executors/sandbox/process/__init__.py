"""The embedded sandbox: Linux namespaces, no Docker and no root needed."""
