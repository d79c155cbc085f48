"""Contracts: stored is what the catalogue says, today's consumer reads all of it, and no change may break it."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jsonschema
import pytest
from pydantic import Field

from tidings.contracts import ContractError, commands
from tidings.contracts.examples import Example, data_in, example_of, read
from tidings.contracts.schemas import schema_of
from tidings.contracts.stored import load
from tidings.events import CATALOGUE, ActivityGap, ApiRequest, Event, MessageCreated, Record, encode
from tidings.events.topics import AUTH
from tidings.platform_commands import main

STORED = Path(__file__).parents[2] / "shared" / "contracts"
CONTRACTS = load(STORED)
EXAMPLES = [(name, file) for name, contract in CONTRACTS.items() for file in contract.examples]


def run(command: str, folder: Path) -> tuple[str, int]:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    return commands.run(parser.parse_args(["--folder", str(folder), command]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the stored contracts."""
    return Path(shutil.copytree(STORED, tmp_path / "contracts"))


@pytest.fixture(params=["check", "write"])
def refused(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """Tells what a command says when it refuses; nothing is written then."""
    before = load(folder)

    def said() -> str:
        text, code = run(request.param, folder)
        assert code == 1
        return text

    yield said
    assert load(folder) == before


def test_what_is_stored_is_what_the_catalogue_says() -> None:
    assert run("check", STORED) == ("the contracts are kept", 0)
    assert set(CONTRACTS) == set(CATALOGUE)


@pytest.mark.parametrize(("name", "file"), EXAMPLES)
def test_todays_consumer_reads_every_stored_example(name: str, file: str) -> None:
    example = CONTRACTS[name].examples[file]
    event = read(example)
    assert event.data.type() == name
    assert event.data.model_dump(mode="json", exclude_unset=True) == data_in(example)
    assert (event.data.topic, event.data.key()) == (example["topic"], example["key"])


@pytest.mark.parametrize(("name", "file"), EXAMPLES)
def test_every_example_fits_the_schema_that_its_event_names(name: str, file: str) -> None:
    contract = CONTRACTS[name]
    jsonschema.Draft202012Validator.check_schema(contract.schema)
    jsonschema.validate(data_in(contract.examples[file]), contract.schema, jsonschema.Draft202012Validator)
    assert contract.schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert contract.examples["example-1.json"]["headers"]["ce_dataschema"] == contract.schema["$id"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_event_and_field_says_what_it_means(name: str) -> None:
    schema = schema_of(CATALOGUE[name])
    assert schema["description"]
    assert [field for field, about in schema["properties"].items() if not about.get("description")] == []


def test_the_examples_show_both_modes_and_the_least_there_must_be() -> None:
    stored = CONTRACTS["tidings.api.request.v1"].examples
    assert stored["example-structured.json"]["headers"].keys() == {"content-type"}
    assert set(stored["example-minimal.json"]["value"]) == set(CONTRACTS["tidings.api.request.v1"].schema["required"])


def test_what_no_consumer_of_today_reads_is_not_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_seconds(event: Event[Any]) -> Record:
        record = encode(event)
        headers = tuple((name, "1767323045" if name == "ce_time" else text) for name, text in record.headers)
        return replace(record, headers=headers)

    monkeypatch.setattr("tidings.contracts.examples.encode", in_seconds)
    for command in ("check", "write"):
        with pytest.raises(
            ContractError, match="what is written today is not read today: time: is not a date and time"
        ):
            run(command, folder)


def test_an_addition_passes_and_is_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(ApiRequest):
        tenant: Annotated[str | None, Field(description="whose call it was")] = None

    class SecondGap(ActivityGap):
        version: ClassVar[int] = 2

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    monkeypatch.setitem(CATALOGUE, SecondGap.type(), SecondGap)
    additions = "\n".join(
        [
            "tidings.activity.gap.v2: is new",
            "tidings.api.request.v1: tenant: is new and optional",
            "tidings.api.request.v1: has a new example",
        ]
    )
    assert run("check", folder) == (f"{additions}\nmake contracts records this", 0)
    assert run("write", folder) == (f"{additions}\nrecorded", 0)
    assert run("check", folder) == ("the contracts are kept", 0)
    assert run("write", folder) == ("nothing to record", 0)
    assert "tenant" in load(folder)[Edited.type()].schema["properties"]
    assert load(folder)[SecondGap.type()].examples == {"example-1.json": example_of(SecondGap)}


def test_other_texts_and_examples_pass_and_no_example_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(MessageCreated):
        """Somebody posted a message."""

        model_config: ClassVar[Any] = {
            "json_schema_extra": {"examples": [example_of(MessageCreated)["value"] | {"length": 99}]}
        }

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    before = load(folder)[Edited.type()].examples
    said, code = run("write", folder)
    assert (said.splitlines(), code) == (
        [f"{Edited.type()}: has other texts", f"{Edited.type()}: has a new example", "recorded"],
        0,
    )
    assert load(folder)[Edited.type()].examples == before | {"example-2.json": example_of(Edited)}


def test_a_narrower_field_is_refused_and_says_what_to_do(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(ApiRequest):
        status: Annotated[int, Field(ge=100, le=200)]

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    said = refused()
    assert "tidings.api.request.v1: status: maximum 599 → 200. Today's consumers would misread events written" in said
    assert "leave tidings.api.request.v1 as it was and make tidings.api.request.v2." in said
    assert "tidings.api.request.v1: example-1.json can no longer be read: status: less_than_equal" in said


def test_a_type_or_version_that_is_gone_is_refused(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Second(MessageCreated):
        version: ClassVar[int] = 2

    monkeypatch.delitem(CATALOGUE, MessageCreated.type())
    monkeypatch.setitem(CATALOGUE, Second.type(), Second)
    assert "tidings.message.created.v1: is gone" in refused()


def test_another_topic_is_refused(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(MessageCreated):
        topic: ClassVar[str] = AUTH

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    assert "topic tidings.messages.v1 → tidings.auth.v1" in refused()


def test_another_key_is_refused(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(MessageCreated):
        def key(self) -> str:
            return str(self.author_id)

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    assert "example-1.json: key 01980d2c-44b0-7e19-b6c8-0d5f9a3e7721 → 01980d2a-7c3e-7b1d" in refused()


def test_data_that_is_read_as_something_else_is_refused(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Edited(MessageCreated):
        def model_post_init(self, _: Any) -> None:
            self.__dict__["length"] = 0

    monkeypatch.setitem(CATALOGUE, Edited.type(), Edited)
    assert "example-1.json is read as other data than it holds" in refused()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tidings.api.request.v1/schema.json", "{not json", "tidings.api.request.v1/schema.json"),
        ("tidings.api.request.v1/example-1.json", "", "tidings.api.request.v1/example-1.json"),
        ("tidings.api.request.v1/example-9.json", "[]", "example-9.json: a record has topic, key, headers and value"),
        ("tidings.api.request.v1/example-9.json", '{"topic": "t"}', "example-9.json: a record has topic, key"),
        ("tidings.thing.v1/notes.txt", "", "tidings.thing.v1/schema.json"),
    ],
)
def test_what_is_no_contract_is_named(folder: Path, file: str, text: str, said: str) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    with pytest.raises(ContractError, match=said):
        run("check", folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"none is no folder: .* --folder"):
        run("check", tmp_path / "none")


def test_a_stored_record_is_stored_as_it_is_written(folder: Path) -> None:
    """The files are those that `write` makes: nobody's editor or hand left something else in them."""
    for name, kind in CATALOGUE.items():
        example: Example = json.loads((folder / name / "example-1.json").read_text())
        assert example == example_of(kind), f"{name}: an example that is recorded does not change"


@pytest.mark.parametrize("extra", [{}, {"examples": []}, {"examples": [{"service": ""}]}])
def test_a_new_event_without_a_fitting_example_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    class NewGap(ActivityGap):
        model_config: ClassVar[Any] = {"json_schema_extra": extra}
        version: ClassVar[int] = 2

    monkeypatch.setitem(CATALOGUE, NewGap.type(), NewGap)
    with pytest.raises(ContractError, match="NewGap needs examples in json_schema_extra"):
        run("write", folder)
    assert NewGap.type() not in load(folder)


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        (STORED, 0, "the contracts are kept"),
        ("emptied", 0, "tidings.api.request.v1: is new"),
        ("none", 2, "is no folder"),
    ],
)
def test_the_command_says_and_exits(
    where: Path | str,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "emptied").mkdir()
    monkeypatch.setattr(sys, "argv", ["tidings", "contracts", "--folder", str(tmp_path / where), "check"])
    assert main() == code
    shown = capsys.readouterr()
    assert said in (shown.err if code == 2 else shown.out)
