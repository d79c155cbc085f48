"""Compatibility: what changed between two schemas of one version of an event type, and whom it breaks.

The mode is FULL, in the words of schema registries, and transitive, since nothing recorded is ever taken back:

- BACKWARD: consumers of today read every event that was ever written under the version. Topics keep events for weeks,
  dead letters and outboxes until somebody acts.
- FORWARD: consumers deployed before a change read what is written after it. They ignore fields that they do not know,
  but check those that they do: one status above their maximum, or one more value of an enumeration, is parked.

So a version takes optional fields and other texts, and nothing else. Every other change is a new version of the type, a
class of its own beside the old one, until no producer writes the old one any more and no topic holds it.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]

TEXTS = {"$schema", "$id", "title", "description", "examples"}
LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems"}
UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"}
UNDERSTOOD = {"type", "anyOf", "default", "enum", "const", "properties", "required", "items"} | TEXTS | LOWER | UPPER
"""Words of JSON Schema whose change is understood; a change of any other breaks both ways."""


class Breaks(Enum):
    """Whom a change breaks."""

    NOBODY = "breaks nobody"
    BACKWARD = "today's consumers would misread events written before"
    FORWARD = "consumers deployed before would misread events written from now on"
    BOTH = "consumers would misread events from the other side of the change"


@dataclass(frozen=True)
class Change:
    """One difference; `field` is its path, empty for the type as a whole."""

    field: str
    what: str
    breaks: Breaks = Breaks.NOBODY


def compare(old: Schema, new: Schema) -> Iterator[Change]:
    """Yield every difference between two schemas but those of texts."""
    yield from _compare(_inlined(old, old.get("$defs", {})), _inlined(new, new.get("$defs", {})), "")


def _inlined(node: Any, definitions: Schema) -> Any:
    """Return `node` with every reference replaced by what it refers to."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    own = {name: _inlined(value, definitions) for name, value in node.items() if name not in ("$ref", "$defs")}
    referred = node.get("$ref")
    return _inlined(definitions[referred.rpartition("/")[2]], definitions) | own if referred else own


def _compare(old: Schema, new: Schema, field: str) -> Iterator[Change]:
    if "default" in old and "default" in new and old["default"] != new["default"]:
        yield Change(field, f"default {old['default']!r} → {new['default']!r}", Breaks.BACKWARD)
    before, after = _alternatives(old), _alternatives(new)
    if before.keys() != after.keys():
        yield _other_choice(field, "type", _types(before), _types(after))
    for kind in sorted(before.keys() & after.keys()):
        yield from _compare_one(before[kind], after[kind], field)


def _alternatives(schema: Schema) -> dict[str, Schema]:
    """Return what a schema allows by JSON type; several alternatives of one type are compared as a whole."""
    found: dict[str, Schema] = {}
    for alternative in schema.get("anyOf", [schema]):
        kind = alternative.get("type", "any")
        found[kind] = {"one of": [found[kind], alternative]} if kind in found else alternative
    return found


def _types(alternatives: Mapping[str, Schema]) -> Set[str] | None:
    """Return the types, of which a number may be an integer; `None` when any is allowed."""
    integers = {"integer"} if "number" in alternatives else set()
    return None if "any" in alternatives else alternatives.keys() | integers


def _compare_one(old: Schema, new: Schema, field: str) -> Iterator[Change]:
    """Compare two schemas of the same type."""
    for word in sorted(old.keys() | new.keys()):
        before, after = old.get(word), new.get(word)
        if word in LOWER | UPPER and before != after:
            yield _other_bound(field, word, before, after)
        elif word not in UNDERSTOOD and before != after:
            yield Change(field, f"{word} {before!r} → {after!r}", Breaks.BOTH)
    if _values(old) != _values(new):
        yield _other_choice(field, "values", _values(old), _values(new))
    yield from _compare_fields(old, new, field)
    if "items" in old or "items" in new:
        yield from _compare(old.get("items", {}), new.get("items", {}), f"{field}[]")


def _values(schema: Schema) -> Set[Any] | None:
    """Return the values of an enumeration; `None` when it is none."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if values is None else set(values)


def _compare_fields(old: Schema, new: Schema, field: str) -> Iterator[Change]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in sorted(before.keys() | after.keys()):
        path = f"{field}.{name}".lstrip(".")
        needed_before, needed_after = name in old.get("required", ()), name in new.get("required", ())
        if name not in after:
            yield Change(path, "is gone", Breaks.BOTH if needed_before else Breaks.BACKWARD)
        elif name not in before:
            what = "is new and required" if needed_after else "is new and optional"
            yield Change(path, what, Breaks.BACKWARD if needed_after else Breaks.NOBODY)
        else:
            if needed_after > needed_before:
                yield Change(path, "optional → required", Breaks.BACKWARD)
            if needed_after < needed_before:
                yield Change(path, "required → optional", Breaks.FORWARD)
            yield from _compare(before[name], after[name], path)


def _other_bound(field: str, word: str, before: float | None, after: float | None) -> Change:
    tighter = after is not None and (before is None or (after > before) == (word in LOWER))
    return Change(field, f"{word} {before} → {after}", Breaks.BACKWARD if tighter else Breaks.FORWARD)


def _other_choice(field: str, word: str, before: Set[Any] | None, after: Set[Any] | None) -> Change:
    narrower = after is not None and (before is None or not before <= after)
    wider = before is not None and (after is None or not after <= before)
    breaks = {(True, False): Breaks.BACKWARD, (False, True): Breaks.FORWARD}.get((narrower, wider), Breaks.BOTH)
    return Change(field, f"{word} {_shown(before)} → {_shown(after)}", breaks)


def _shown(choice: Set[Any] | None) -> str:
    return "any" if choice is None else " or ".join(sorted(map(str, choice)))
