"""The domain core: frozen values and pure rules. Only ``store`` and ``settings`` touch the outside."""
