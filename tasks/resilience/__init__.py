"""How parts that fail are dealt with: asked again, and after many failures left alone for a while."""
