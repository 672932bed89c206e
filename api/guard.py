"""Who may use the API: those who show the bearer key."""

import hmac
from http import HTTPStatus

from fastapi import Request
from pydantic import SecretStr

from api.problems import Problem


class Guard:
    """A dependency that lets a request pass when it shows the key; it runs before any body is read."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key.get_secret_value().encode()

    async def __call__(self, request: Request) -> None:
        """Raises a 401 ``Problem`` without the right key; the time taken tells nothing of the key."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # Header text is Latin-1 by rule; encoded so again, these are the bytes that were sent.
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.encode("latin-1"), self._key):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "the bearer key is missing or wrong; send Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
