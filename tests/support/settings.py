"""All classes of settings, found where they are."""

import inspect

from crucible import settings
from crucible.telemetry import settings as telemetry_settings


def setting_kinds() -> list[type[settings.BaseSettings]]:
    """All classes of settings."""
    found = [
        kind
        for module in (settings, telemetry_settings)
        for _, kind in inspect.getmembers(module, inspect.isclass)
    ]
    return [
        kind
        for kind in found
        if issubclass(kind, settings.BaseSettings) and kind is not settings.BaseSettings
    ]
