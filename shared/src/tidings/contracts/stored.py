"""Stored contracts: a folder for each type and version, with its schema and the records that are its examples.

Nothing in there is ever changed or removed by a program: a schema grows by compatible additions, examples join others.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidings.contracts import ContractError
from tidings.contracts.compatibility import Breaks, Change, compare
from tidings.contracts.examples import Example, data_in, example_of, read
from tidings.contracts.schemas import schema_of
from tidings.events import CATALOGUE, EventData, Undecodable
from tidings.text_file import decode

SCHEMA = "schema.json"


@dataclass(frozen=True)
class Contract:
    """What is stored of one type and version."""

    schema: dict[str, Any]
    examples: dict[str, Example]
    """By file name."""


def load(folder: Path) -> dict[str, Contract]:
    """Return every stored contract by its `ce_type`.

    Raises:
        ContractError: there is no such folder, or something in it is no contract.
    """
    if not folder.is_dir():
        raise ContractError(f"{folder} is no folder: run this where the repository is, or name it with --folder")
    return {path.name: _contract(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def changes(contracts: dict[str, Contract]) -> dict[str, list[Change]]:
    """Return, by type, what the catalogue of today has otherwise than the stored contracts."""
    found = {name: [Change("", "is gone", Breaks.BACKWARD)] for name in contracts.keys() - CATALOGUE.keys()}
    for name, kind in CATALOGUE.items():
        found[name] = _changes_of(kind, contracts[name]) if name in contracts else _new(kind)
    return {name: differing for name, differing in sorted(found.items()) if differing}


def record(folder: Path) -> None:
    """Store the schemas of today, and their examples beside those that are there; for compatible changes only."""
    contracts = load(folder)
    for name, kind in CATALOGUE.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        _write(place / SCHEMA, schema_of(kind))
        examples = contracts[name].examples if name in contracts else {}
        if example_of(kind) not in examples.values():
            numbers = (number for number in range(1, len(examples) + 2) if f"example-{number}.json" not in examples)
            _write(place / f"example-{next(numbers)}.json", example_of(kind))


def _contract(folder: Path) -> Contract:
    return Contract(
        schema=_read(folder / SCHEMA),
        examples={path.name: _example(path) for path in sorted(folder.glob("example*.json"))},
    )


def _example(path: Path) -> Example:
    example: Example = _read(path)
    if not isinstance(example, dict) or example.keys() != Example.__required_keys__:
        raise ContractError(f"{path}: a record has topic, key, headers and value")
    return example


def _new(kind: type[EventData]) -> list[Change]:
    _require_readable(kind)
    return [Change("", "is new")]


def _changes_of(kind: type[EventData], contract: Contract) -> list[Change]:
    schema = schema_of(kind)
    found = list(compare(contract.schema, schema))
    if not found and contract.schema != schema:
        found.append(Change("", "has other texts"))
    for name, example in contract.examples.items():
        found += _example_changes(name, example)
    compatible = all(change.breaks is Breaks.NOBODY for change in found)
    if compatible:
        _require_readable(kind)
    if compatible and example_of(kind) not in contract.examples.values():
        found.append(Change("", "has a new example"))
    return found


def _require_readable(kind: type[EventData]) -> None:
    try:
        read(example_of(kind))
    except Undecodable as error:
        raise ContractError(f"{kind.type()}: what is written today is not read today: {error}") from error


def _example_changes(name: str, example: Example) -> Iterator[Change]:
    """Yield what is read of a stored example today otherwise than it was written."""
    try:
        data = read(example).data
    except Undecodable as error:
        yield Change("", f"{name} can no longer be read: {error}", Breaks.BACKWARD)
        return
    if data.topic != example["topic"]:
        yield Change("", f"topic {example['topic']} → {data.topic}", Breaks.BOTH)
    if data.key() != example["key"]:
        yield Change(
            "", f"{name}: key {example['key']} → {data.key()}: one key's events would change places", Breaks.BOTH
        )
    if data.model_dump(mode="json", exclude_unset=True) != data_in(example):
        yield Change("", f"{name} is read as other data than it holds", Breaks.BACKWARD)


def _read(path: Path) -> Any:
    try:
        return json.loads(decode(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: {error}") from error


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
