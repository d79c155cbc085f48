"""Listening: by IPv4 and IPv6, and what is blamed when it is not possible."""

import socket

import pytest

from tidings.serving import listen
from tidings.settings import SettingsError
from tidings_local.settings import LocalSettings


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1"]),  # noqa: S104  # the test is about it
    ],
)
def test_a_listener_is_reached_where_it_listens(host: str, reached: list[str]) -> None:
    with listen(host, 0, "HOST", "PORT") as listener:
        for address in reached:
            socket.create_connection((address, listener.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "nothing.invalid"])
def test_a_wrong_host_is_blamed_on_the_host(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^HOST: .* is not an address of this machine: [^()]+$"):
        listen(host, 8000, "HOST", "PORT")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_blamed_on_the_port(host: str) -> None:
    with listen(host, 0, "HOST", "PORT") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^PORT: .*{port} cannot be used: Address already in use; choose"):
            listen(host, port, "HOST", "PORT")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104  # the test is about it
        ("::1", "http://[::1]:8080"),
        ("[::1]", "http://[::1]:8080"),
        ("::", "http://[::1]:8080"),
        ("localhost", "http://localhost:8080"),
    ],
)
def test_the_local_runner_names_a_url_that_a_browser_takes(
    monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("TIDINGS_HOST", host)
    assert LocalSettings().url == url
