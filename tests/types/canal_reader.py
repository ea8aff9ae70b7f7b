"""Reads Canal JSON as docs/canal-json.md describes it, with the default settings, back into PostgreSQL's own text."""

import base64
import json
from typing import Any

from changes import Change, Image
from harness.kafka import Record


def _boolean(text: str) -> str:
    return {"true": "t", "false": "f"}[text]


def _bytea(text: str) -> str:
    return "\\x" + base64.b64decode(text, validate=True).hex()


def _timestamptz(text: str) -> str:
    return text.replace("Z", "+00")  # the only capital Z there is: the infinities are in lower case


# By the type's name in `mysqlType`; the text of all other types is PostgreSQL's.
_UNDO = {"boolean": _boolean, "bytea": _bytea, "timestamptz": _timestamptz}


def _image(row: dict[str, str | None], types: dict[str, str]) -> Image:
    image: Image = {}
    for column, text in row.items():
        undo = _UNDO.get(types[column])
        image[column] = undo(text) if undo and text is not None else text
    return image


def read(record: Record) -> tuple[Change, dict[str, Any]]:
    """The change, and the message as it is. `before` of an update holds what `old` says: the values that changed."""
    message = json.loads(record.value or b"")
    types = message["mysqlType"]
    (data,) = (_image(row, types) for row in message["data"])
    table, lsn = (message["database"], message["table"]), message["id"]
    if message["type"] == "INSERT":
        assert message["old"] is None
        return Change("insert", table, lsn, None, data), message
    if message["type"] == "DELETE":
        assert message["old"] is None
        return Change("delete", table, lsn, data, None), message
    assert message["type"] == "UPDATE"
    (old,) = (_image(row, types) for row in message["old"])
    return Change("update", table, lsn, old, data), message
