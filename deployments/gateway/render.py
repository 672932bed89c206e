"""Puts values into the template, as ``envsubst`` does in a container."""

import re
from collections.abc import Mapping
from importlib.resources import files

_VALUE = re.compile(r"\$\{(CRUCIBLE_GATEWAY_[A-Z_]+)\}")


def render(values: Mapping[str, str]) -> str:
    """The configuration with ``values`` in it; raises ``KeyError`` for one that is missing."""
    template = files("deployments.gateway").joinpath("nginx.conf.template").read_text()
    return _VALUE.sub(lambda found: values[found[1]], template)
