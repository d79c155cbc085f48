"""Error types: each that a route can raise has its meaning for a client in the service's table."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import FastAPI

import tidings
import tidings_auth.app
import tidings_log_consumer.app
import tidings_messages.app
from tidings.settings import load
from tidings_auth.settings import AuthSettings
from tidings_log_consumer.settings import LogSettings
from tidings_messages.settings import MessagesSettings

COMMON = {
    "database": {"url": "sqlite+aiosqlite:///unused.db"},
    "kafka": {"bootstrap_servers": "unused:9092"},
    "activity": {"address_key": "0123456789abcdef"},
    "redis": {"url": "redis://unused"},
}
TOKENS = {"jwks_url": "http://unused/keys"}

NEVER_IN_A_ROUTE = {
    "tidings.settings.SettingsError",  # at start-up
    "tidings.database.migration_lock.MigrationLocked",  # a command's
    "tidings.database.moments.ClocksDiffer",  # a health check tells its reason
    "tidings.database.writes.ReadOnlyDatabase",  # as above
    "tidings.database.schema.SchemaBehind",  # a health check tells its reason
    "tidings.database.schema.WrongSchema",  # a health check's and a command's
    "tidings.http.refusals.Refused",  # before there is a route
    "tidings.commands.CommandFailed",  # a command's
    "tidings.contracts.ContractError",  # a command's
    "tidings.terminal.OutputLost",  # a command's
    "tidings.events.record.Undecodable",  # the consumer's
    "tidings.kafka.consumer.RetryLater",  # between consumer and handler
    "tidings.kafka.consumer.LetGo",  # inside the consumer
    "tidings.kafka.ordered.HeldBack",  # inside the publisher
    "tidings.kafka.ordered.RecordTooLarge",  # inside the publisher
    "tidings.outbox.relay.RowsParked",  # a health check tells its reason
    "tidings.kafka.dead_letters.TooMuchPoison",  # ends the consumer
    "tidings.kafka.topics.TopicsUnavailable",  # a command's
    "tidings.redis.revocations.RevocationsStale",  # a health check tells its reason
    "tidings.kafka.publisher.BrokerUnavailable",  # the relay's and the lane's
}


def apps(folder: Path) -> dict[ModuleType, FastAPI]:
    signing = {"keys_file": folder / "keys.json", "generate": True}
    auth = load(AuthSettings, environment="development", signing=signing, **COMMON)
    return {
        tidings_auth: tidings_auth.app.create_app(auth),
        tidings_messages: tidings_messages.app.create_app(load(MessagesSettings, tokens=TOKENS, **COMMON)),
        tidings_log_consumer: tidings_log_consumer.app.create_app(load(LogSettings, tokens=TOKENS, **COMMON)),
    }


def errors_of(package: ModuleType) -> dict[str, type[Exception]]:
    """Every error type that the package itself defines, by its full name."""
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__ == info.name:
                found[f"{info.name}.{name}"] = kind
    return found


def test_every_error_type_that_a_route_can_raise_is_mapped(tmp_path: Path) -> None:
    shared = errors_of(tidings)
    assert set(shared) >= NEVER_IN_A_ROUTE, "the list names a type that is gone"
    for package, app in apps(tmp_path).items():
        defined = shared | errors_of(package)
        unmapped = {name for name, kind in defined.items() if kind not in app.exception_handlers}
        assert unmapped == NEVER_IN_A_ROUTE, package.__name__


def test_the_services_errors_are_found_at_all() -> None:
    assert {name.rpartition(".")[2] for name in errors_of(tidings_auth)} >= {"UsernameTaken", "HashingBusy"}


@pytest.mark.parametrize("package", [tidings, tidings_auth, tidings_messages, tidings_log_consumer])
def test_every_module_says_in_its_first_line_what_it_is(package: ModuleType) -> None:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        assert importlib.import_module(info.name).__doc__, info.name
