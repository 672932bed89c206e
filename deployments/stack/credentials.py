"""The secrets of one home: made once, kept, readable by their owner alone."""

import secrets

from pydantic import ValidationError

from crucible.errors import SettingsError
from crucible.models.frozen import Frozen
from deployments.stack.home import Home
from deployments.stack.state import write_private

_BYTES = 32


class Credentials(Frozen):
    """What the parts of a stack show to each other, and users to the API."""

    executor_token: str
    api_key: str
    redis_password: str


def credentials_of(home: Home) -> Credentials:
    """Those of this home, made now if it has none. Raises ``SettingsError`` when the file is damaged."""
    if not home.secrets.exists():
        made = Credentials(**{name: secrets.token_urlsafe(_BYTES) for name in Credentials.model_fields})
        write_private(home.secrets, made.model_dump_json(indent=2))
    try:
        return Credentials.model_validate_json(home.secrets.read_bytes())
    except (ValidationError, OSError) as error:
        raise SettingsError(
            f"{home.secrets} cannot be read as this home's secrets; delete it to have new ones made"
        ) from error
