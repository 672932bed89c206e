"""Where the API listens."""

import pytest

from api.server import _listener
from crucible.errors import SettingsError


def test_it_listens_where_it_is_told() -> None:
    with _listener("127.0.0.2", 0) as listener:
        assert listener.getsockname()[0] == "127.0.0.2"


def test_an_address_that_cannot_be_had_is_named() -> None:
    with pytest.raises(SettingsError, match=r"on 192\.0\.2\.1; .*CRUCIBLE_API_HOST"):
        _listener("192.0.2.1", 0)
