"""What the connections of a server share."""

import pytest

from tidings.connections import Connections
from tidings.http.settings import HttpSettings


def test_closed_connections_are_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(HttpSettings(), most=10)
    connections.closed.update({"malformed-request": 20, "request-timeout": 3})
    connections.sweep(1.0)
    connections.sweep(2.0)
    assert [record.getMessage() for record in caplog.records] == [
        "closed connections: 20 malformed-request, 3 request-timeout"
    ]
