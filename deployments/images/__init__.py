"""The images of the composition: their Dockerfile, and what starts the servers in them."""
