"""The gateway's configuration: one template for the local stack and for containers."""
