"""The leg that is being replaced: JSON payloads on Redis lists, one list per priority."""
