"""Settings: read once, and every problem in one message that names the variable and no secret."""

from typing import Literal

import pytest
from pydantic import Field, SecretStr

from tidings.settings import Group, Settings, SettingsError, group, load, variable

SECRET = "s3cret-s3cret"


class Inner(Group):
    url: str = Field(description="where it is")
    size: int = Field(default=10, ge=1)
    key: SecretStr = Field(default=SecretStr("x" * 16), min_length=16, description="keys the hash")


class Outer(Settings):
    store: Inner = group()
    mode: Literal["fast", "slow"] = "fast"


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(Outer)
    assert caught.value.__cause__ is None
    first, *lines = str(caught.value).splitlines()
    assert first == "wrong settings:"
    return lines


def test_defaults_are_production_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_STORE_URL", "here")
    settings = load(Outer)
    assert (settings.environment, settings.log_level, settings.otlp_endpoint) == ("production", "INFO", None)
    assert (settings.store.url, settings.store.size, settings.mode) == ("here", 10, "fast")


def test_each_field_is_read_from_the_variable_of_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TIDINGS_STORE_URL": "here",
        "TIDINGS_STORE_SIZE": "3",
        "TIDINGS_LOG_LEVEL": "DEBUG",
        "TIDINGS_ENVIRONMENT": "development",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(Outer)
    assert (settings.store.size, settings.log_level, settings.environment) == (3, "DEBUG", "development")
    assert settings.otlp_endpoint == "http://collector:4318"


def test_what_the_caller_gives_wins_and_the_rest_of_its_group_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_STORE_SIZE", "3")
    monkeypatch.setenv("TIDINGS_STORE_URL", "there")
    settings = load(Outer, store={"url": "here"})
    assert (settings.store.url, settings.store.size) == ("here", 3)


def test_a_missing_group_is_reported_by_the_variables_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch) == ["  TIDINGS_STORE_URL: is not set (where it is)"]


def test_all_problems_are_in_one_message_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = problems(
        monkeypatch,
        TIDINGS_STORE_SIZE="0",
        TIDINGS_STORE_KEY="short",
        TIDINGS_MODE="other",
        TIDINGS_LOG_LEVEL="LOUD",
        TIDINGS_ENVIRONMENT="prod",
    )
    assert sorted(line.split(":")[0].strip() for line in lines) == [
        "TIDINGS_ENVIRONMENT",
        "TIDINGS_LOG_LEVEL",
        "TIDINGS_MODE",
        "TIDINGS_STORE_KEY",
        "TIDINGS_STORE_SIZE",
        "TIDINGS_STORE_URL",
    ]


def test_a_wrong_secret_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = problems(monkeypatch, TIDINGS_STORE_URL="here", TIDINGS_STORE_KEY=SECRET)
    assert lines[0].startswith("  TIDINGS_STORE_KEY: ")
    assert "16" in lines[0]
    assert SECRET not in lines[0]


def test_a_secret_is_not_in_the_settings_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_STORE_URL", "here")
    monkeypatch.setenv("TIDINGS_STORE_KEY", SECRET * 2)
    assert SECRET not in repr(load(Outer))


def test_a_misspelt_variable_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_STOR_URL", "here")
    assert problems(monkeypatch) == [
        "  TIDINGS_STORE_URL: is not set (where it is); TIDINGS_STOR_URL is set: is it a misspelling?"
    ]


def test_an_unlike_variable_is_not_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "misspelling" not in problems(monkeypatch, TIDINGS_SOMETHING_ELSE="x", OTHER_STORE_URL="x")[0]


def test_settings_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_STORE_URL", "here")
    settings = load(Outer)
    with pytest.raises(ValueError, match="frozen"):
        settings.mode = "slow"  # type: ignore[misc]  # that it is refused at run time too is the point
    with pytest.raises(ValueError, match="frozen"):
        settings.store.size = 1  # type: ignore[misc]  # as above


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("database", "url"), "TIDINGS_DATABASE_URL"),
        (("log_level",), "TIDINGS_LOG_LEVEL"),
    ],
)
def test_a_variable_is_its_path_in_capitals(path: tuple[str, ...], expected: str) -> None:
    assert variable(path) == expected


def test_a_problem_of_a_standard_variable_has_its_own_name() -> None:
    with pytest.raises(SettingsError, match=r"\n  OTEL_EXPORTER_OTLP_ENDPOINT: "):
        load(Outer, store={"url": "here"}, OTEL_EXPORTER_OTLP_ENDPOINT=1)


def test_a_problem_in_one_branch_of_a_union_is_named_by_its_variable() -> None:
    class WithUnion(Settings):
        limit: int | Literal["none"] = "none"

    with pytest.raises(SettingsError) as caught:
        load(WithUnion, limit="much")
    assert {line.split(":")[0] for line in str(caught.value).splitlines()[1:]} == {"  TIDINGS_LIMIT"}
