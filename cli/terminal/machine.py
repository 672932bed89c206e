"""Results for machines."""

import json
import sys
from collections.abc import Mapping
from typing import Any


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on standard output and nothing else: no wrapping, no colours, in any locale."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
