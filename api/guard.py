"""Who may use the API: those who show a bearer key, for what its scopes allow, as often as it allows."""

from http import HTTPStatus

from fastapi import Request

from api.access import Access, Keyring, refusal
from api.limits import RateLimits
from api.parameters import refuse_strange_parameters
from api.problems import Problem
from crucible.models.access import Scope


class Guard:
    """Lets requests pass that show a key; it is asked before any body is read."""

    def __init__(self, keyring: Keyring, limits: RateLimits) -> None:
        self._keyring, self._limits = keyring, limits

    def needs(self, scope: Scope) -> "Needs":
        """A dependency of endpoints that takes requests whose key has ``scope``."""
        return Needs(self, scope)

    async def admit(self, text: str, address: str) -> Access:
        """Who shows the key ``text`` from ``address``.

        Raises a 401 ``Problem`` for one that opens nothing, and a 429 one for too many requests, or for too
        many wrong keys from that address: keys unseen so far are then not looked at.
        """
        if not self._keyring.is_familiar(text):
            await self._limits.refuse_guessers(address)
        try:
            access = await self._keyring.by_secret(text)
        except Problem:
            await self._limits.note_wrong_key(address)
            raise
        await self._limits.spend(access)
        return access

    async def bearer(self, request: Request) -> Access:
        """Who shows a key in the header of ``request``. Raises as ``admit`` does, for no key at all too."""
        address = request.client.host if request.client else ""
        return await self.admit(_bearer_key(request), address)

    async def resume(self, key_id: str) -> Access:
        """Who showed the key of that id before, for whoever keeps sessions. Raises as ``admit`` does."""
        access = await self._keyring.by_id(key_id)
        await self._limits.spend(access)
        return access


class Needs:
    """Takes requests that show a key with ``scope``; what is wrong with them otherwise comes later."""

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self._guard, self.scope = guard, scope

    async def __call__(self, request: Request) -> Access:
        """Who asks. Raises a 401, 403 or 429 ``Problem``, and a 422 one for parameters unknown here."""
        access = await self._guard.bearer(request)
        require(access, self.scope)
        refuse_strange_parameters(request)
        return access


def require(access: Access, scope: Scope) -> None:
    """Raises a 403 ``Problem`` that names ``scope`` unless ``access`` has it."""
    if not access.allows(scope):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"the key {access.key_id} has not the scope {scope}; ask for a key that has it",
            {"scope": scope},
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


def _bearer_key(request: Request) -> str:
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise refusal("the bearer key is missing; send Authorization: Bearer KEY", "Bearer")
    # Header text is Latin-1 by rule; encoded so again, these are the bytes that were sent.
    return shown.strip().encode("latin-1").decode(errors="surrogateescape")
