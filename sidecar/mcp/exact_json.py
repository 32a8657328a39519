"""JSON whose numbers keep all their digits: a key that a model is shown must find its row."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def read_json(text: str) -> Any:
    """The value, with texts for the numbers that a float does not hold exactly. Raises ValueError."""
    return json.loads(text, parse_float=_number)


def _number(digits: str) -> float | str:
    number = float(digits)
    return number if Decimal(repr(number)) == Decimal(digits) else digits
