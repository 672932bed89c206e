"""The Docker sandbox: prewarmed containers, each used for one program."""
