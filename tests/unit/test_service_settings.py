"""Each service's settings: what it needs, what it assumes, and what its messages say."""

from pathlib import Path

import pytest

from tidings.commands import ServiceSettings
from tidings.settings import SettingsError, load
from tidings_auth.settings import AuthSettings
from tidings_log_consumer.settings import LogSettings
from tidings_messages.settings import MessagesSettings

COMMON = {
    "TIDINGS_DATABASE_URL": "mysql+aiomysql://tidings:s3cret@db:3306/tidings",
    "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "kafka-0:9092, kafka-1:9092",
    "TIDINGS_REDIS_URL": "redis://:s3cret@redis:6379/0",
    "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
}
TOKENS = {"TIDINGS_TOKENS_JWKS_URL": "http://auth:8000/.well-known/jwks.json"}


@pytest.fixture
def keys_file(tmp_path: Path) -> str:
    return str(tmp_path / "not looked at here.json")


def given(monkeypatch: pytest.MonkeyPatch, *parts: dict[str, str], **more: str) -> None:
    for part in (*parts, more):
        for name, value in part.items():
            monkeypatch.setenv(name, value)


def lines_of(kind: type[ServiceSettings]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(kind)
    assert "s3cret" not in str(caught.value)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        (AuthSettings, {*COMMON, "TIDINGS_SIGNING_KEYS_FILE"}),
        (MessagesSettings, {*COMMON, *TOKENS}),
        (LogSettings, {*COMMON, *TOKENS}),
    ],
)
def test_production_names_everything_that_must_be_given(kind: type[ServiceSettings], needed: set[str]) -> None:
    lines = lines_of(kind)
    assert {line.split(":")[0] for line in lines} == needed
    assert all(": is not set (" in line for line in lines)


@pytest.mark.parametrize("kind", [MessagesSettings, LogSettings])
def test_a_service_that_reads_tokens_starts_with_what_must_be_given(
    kind: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, COMMON, TOKENS)
    settings = load(kind)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8000)
    assert settings.database.deadline_seconds == 1.5
    assert "s3cret" not in repr(settings)


def test_auth_starts_with_what_must_be_given(monkeypatch: pytest.MonkeyPatch, keys_file: str) -> None:
    given(monkeypatch, COMMON, TIDINGS_SIGNING_KEYS_FILE=keys_file)
    settings = load(AuthSettings)
    assert (settings.password.min_length, settings.signing.lifetime_seconds) == (8, 300)
    assert settings.signing.generate is False
    assert "s3cret" not in repr(settings)


def test_the_issuer_and_audience_that_auth_says_are_those_that_others_believe(
    monkeypatch: pytest.MonkeyPatch, keys_file: str
) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_SIGNING_KEYS_FILE=keys_file)
    said, believed = load(AuthSettings).signing, load(MessagesSettings).tokens
    assert (said.issuer, said.audience) == (believed.issuer, believed.audience)


def test_a_keys_file_may_be_made_in_development_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(
        monkeypatch,
        COMMON,
        TIDINGS_SIGNING_KEYS_FILE=str(tmp_path / "none.json"),
        TIDINGS_SIGNING_GENERATE="true",
        TIDINGS_ENVIRONMENT="development",
    )
    assert load(AuthSettings).signing.generate is True
    monkeypatch.setenv("TIDINGS_ENVIRONMENT", "production")
    (line,) = lines_of(AuthSettings)
    assert "TIDINGS_SIGNING_GENERATE: is for TIDINGS_ENVIRONMENT=development only" in line


@pytest.mark.parametrize("name", ["TIDINGS_DATABASE_URLL", "TIDINGS_HTTP_PORT_X", "TIDINGS_KAFKA_SERVER"])
def test_a_variable_that_is_none_of_ours_is_named_in_full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given(monkeypatch, COMMON, TOKENS, {name: "s3cret"})
    (line,) = lines_of(MessagesSettings)
    assert line.startswith(f"{name}: ")


def test_variables_that_kubernetes_makes_for_a_service_of_our_name_are_named(
    monkeypatch: pytest.MonkeyPatch, keys_file: str
) -> None:
    """They are no settings; the chart sets `enableServiceLinks: false`, and without it the message says why."""
    injected = {"TIDINGS_REDIS_PORT": "tcp://10.0.0.1:6379", "TIDINGS_REDIS_SERVICE_HOST": "10.0.0.1"}
    given(monkeypatch, COMMON, injected, TIDINGS_SIGNING_KEYS_FILE=keys_file)
    assert {line.split(":")[0] for line in lines_of(AuthSettings)} == set(injected)


@pytest.mark.parametrize("name", ["TIDINGS_HTTP", "TIDINGS_DATABASE", "tidings_database"])
@pytest.mark.parametrize(
    "value",
    ["s3cret", '{"url": "s3cret', "[1]", "1", "", "null", "{}", '{"url": "sqlite+aiosqlite:///s3cret"}'],
)
@pytest.mark.parametrize("has_url", [True, False])
def test_a_group_given_as_one_variable_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, has_url: bool
) -> None:
    given(monkeypatch, COMMON, TOKENS, {name: value})
    if not has_url:
        monkeypatch.delenv("TIDINGS_DATABASE_URL")
    (line,) = [line for line in lines_of(MessagesSettings) if "is not set" not in line]
    name = name.upper()
    assert line == f"{name}: is the name of a group of settings; set the variables of the group, {name}_…"


@pytest.mark.parametrize("kind", [AuthSettings, MessagesSettings, LogSettings])
def test_redis_in_memory_is_refused_in_production(
    monkeypatch: pytest.MonkeyPatch, keys_file: str, kind: type[ServiceSettings]
) -> None:
    """It is of one process; no session that another process ends would ever be known there."""
    tokens = {} if kind is AuthSettings else TOKENS
    given(monkeypatch, COMMON, tokens, TIDINGS_SIGNING_KEYS_FILE=keys_file, TIDINGS_REDIS_URL="memory://s3cret")
    (line,) = lines_of(kind)
    assert line.startswith("TIDINGS_REDIS_URL: memory:// is for TIDINGS_ENVIRONMENT=development only; give the address")
    monkeypatch.setenv("TIDINGS_ENVIRONMENT", "development")
    load(kind)
