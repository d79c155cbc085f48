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


def test_brokers_lose_their_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, COMMON, TOKENS)
    options = load(LogSettings).kafka.client_options()
    assert options["bootstrap_servers"] == "kafka-0:9092,kafka-1:9092"
    assert options["request_timeout_ms"] == 10_000


@pytest.mark.parametrize(
    "value", ["kafka", "kafka:", ":9092", "kafka:port", "kafka:9092,", "http://kafka:9092", "a b:1"]
)
def test_brokers_that_are_no_addresses_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=value)
    (line,) = lines_of(LogSettings)
    assert line.startswith("TIDINGS_KAFKA_BOOTSTRAP_SERVERS: ")
    assert "is not host:port" in line


@pytest.mark.parametrize("value", ["kafka:9092", "10.0.0.1:9092", "[::1]:9092", "a.b-c_d:1,e:65535"])
def test_brokers_that_are_addresses_are_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=value)
    assert load(LogSettings).kafka.bootstrap_servers == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("s3cret", "is no database URL"),
        ("", "is no database URL"),
        ("mysql+aiomysql://tidings:s3cret/db", "is no database URL"),
        ("postgresql+asyncpg://u:s3cret@db/tidings", "must start with mysql+aiomysql:// or sqlite+aiosqlite://"),
        ("mysql://u:s3cret@db/tidings", "must start with"),
        ("mysql+aiomysql://u:s3cret@db:3306", "names no database"),
        ("sqlite+aiosqlite://", "names no database"),
    ],
)
def test_a_wrong_database_url_is_explained_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_DATABASE_URL=value)
    (line,) = lines_of(MessagesSettings)
    assert line.startswith("TIDINGS_DATABASE_URL: ")
    assert said in line


@pytest.mark.parametrize("value", ["mysql+aiomysql://u:p@db/tidings", "sqlite+aiosqlite:///x.db"])
def test_the_two_kinds_of_database_are_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_DATABASE_URL=value)
    assert load(MessagesSettings).database.url.get_secret_value() == value


def test_a_wrong_redis_url_is_explained_and_not_shown(monkeypatch: pytest.MonkeyPatch, keys_file: str) -> None:
    given(monkeypatch, COMMON, TIDINGS_REDIS_URL="http://:s3cret@redis", TIDINGS_SIGNING_KEYS_FILE=keys_file)
    (line,) = lines_of(AuthSettings)
    assert line.startswith("TIDINGS_REDIS_URL: ")
    assert "redis://" in line


@pytest.mark.parametrize("value", ["auth:8000/keys", "ftp://auth/keys", ""])
def test_a_wrong_key_set_url_is_explained(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    given(monkeypatch, COMMON, TIDINGS_TOKENS_JWKS_URL=value)
    (line,) = lines_of(MessagesSettings)
    assert line.startswith("TIDINGS_TOKENS_JWKS_URL: ")
    assert "http://" in line


def test_an_address_key_that_is_too_short_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_ACTIVITY_ADDRESS_KEY="s3cret")
    (line,) = lines_of(MessagesSettings)
    assert line.startswith("TIDINGS_ACTIVITY_ADDRESS_KEY: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIDINGS_HTTP_PORT", "0"),
        ("TIDINGS_HTTP_PORT", "65536"),
        ("TIDINGS_HTTP_TRUSTED_HOPS", "-1"),
        ("TIDINGS_HTTP_TRUSTED_HOPS", "11"),
        ("TIDINGS_DATABASE_POOL_SIZE", "0"),
        ("TIDINGS_DATABASE_DEADLINE_SECONDS", "0"),
        ("TIDINGS_DATABASE_DEADLINE_SECONDS", "soon"),
        ("TIDINGS_KAFKA_FETCH_MAX_WAIT_MS", "0"),
        ("TIDINGS_CONSUMER_GROUP", ""),
    ],
)
def test_a_number_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, COMMON, TOKENS, {name: value})
    (line,) = lines_of(LogSettings)
    assert line.startswith(f"{name}: ")


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
    assert "TIDINGS_SIGNING_GENERATE is for TIDINGS_ENVIRONMENT=development only" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("PASSWORD_MIN_LENGTH", "7"), ("SIGNING_LIFETIME_SECONDS", "3601"), ("SIGNING_ROTATE_DAYS", "0")],
)
def test_weakening_auth_is_refused(monkeypatch: pytest.MonkeyPatch, keys_file: str, name: str, value: str) -> None:
    given(monkeypatch, COMMON, {f"TIDINGS_{name}": value}, TIDINGS_SIGNING_KEYS_FILE=keys_file)
    (line,) = lines_of(AuthSettings)
    assert line.startswith(f"TIDINGS_{name}: ")


def test_a_sqlite_file_in_a_folder_that_is_not_there_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, COMMON, TOKENS, TIDINGS_DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path}/none/x.db")
    (line,) = lines_of(MessagesSettings)
    assert line.startswith(f"TIDINGS_DATABASE_URL: there is no folder {tmp_path}/none")


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


@pytest.mark.parametrize("name", ["TIDINGS_HTTP", "TIDINGS_DATABASE"])
@pytest.mark.parametrize("value", ["s3cret", '{"url": "s3cret', "[1]", "1"])
def test_a_group_given_as_one_variable_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    given(monkeypatch, COMMON, TOKENS, {name: value})
    if name == "TIDINGS_DATABASE":
        monkeypatch.delenv("TIDINGS_DATABASE_URL")
    (line,) = [line for line in lines_of(MessagesSettings) if "is not set" not in line]
    assert line.startswith(f"{name}: ")


def test_a_rule_over_several_variables_is_told_without_a_name_that_is_no_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given(monkeypatch, COMMON, TIDINGS_SIGNING_KEYS_FILE=str(tmp_path / "k"), TIDINGS_SIGNING_GENERATE="true")
    assert lines_of(AuthSettings) == ["TIDINGS_SIGNING_GENERATE is for TIDINGS_ENVIRONMENT=development only"]
