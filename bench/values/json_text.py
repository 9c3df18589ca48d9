"""JSON as others read it: no NaN and no infinity, for which it has no word."""

from __future__ import annotations

import json

from bench.values.codec import encode


def json_text(
    value: object,
    *,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = True,
) -> str:
    """The JSON text of a value or of plain data; what is not finite becomes null: not measured."""
    return json.dumps(
        encode(value),
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        ensure_ascii=ensure_ascii,
        allow_nan=False,
    )
