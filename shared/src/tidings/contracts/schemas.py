"""Schemas: the data of each event type as JSON Schema 2020-12."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from tidings.events import EventData


class _Titleless(GenerateJsonSchema):
    """Leaves out the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(kind: type[EventData]) -> JsonSchemaValue:
    """Return the schema of what a consumer takes as the data of `kind`; a field that is not required may be absent."""
    schema = kind.model_json_schema(schema_generator=_Titleless)
    first = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": kind.dataschema(),
        "title": f"{kind.name}, version {kind.version}",
        "description": " ".join(schema.pop("description", "").split()),
        "type": schema.pop("type"),
        "properties": schema.pop("properties"),
        "required": schema.pop("required", []),
    }
    del schema["title"]
    return first | schema
