"""Validation errors of bodies in the words of the client."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sidecar.http.bodies.validation_errors import to_input_error
from sidecar.http.embed.texts import TextsBody


class Text(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class Picture(BaseModel):
    type: Literal["picture"]
    url: str


class Message(BaseModel):
    content: str | list[Annotated[Text | Picture, Field(discriminator="type")]]


class Body(BaseModel):
    model_config = ConfigDict(strict=True)

    input: str | list[str] = "a"
    pairs: list[str | Text] = []
    format: Literal["float", "base64"] = "float"
    k: int = Field(default=1, ge=1, le=10)
    weight: float | None = Field(default=None, gt=0, lt=1)
    names: list[str] = Field(default=["a"], min_length=1, max_length=3)
    word: str = Field(default="ab", min_length=2, max_length=4)
    raw: bool = False
    messages: list[Message] = []
    one: Text | None = None
    odd: int | None = None

    @field_validator("odd")
    @classmethod
    def _check_odd(cls, odd: int | None) -> int | None:
        if odd is not None and odd % 2 == 0:
            raise PydanticCustomError("even", "{odd} is even.", {"odd": odd})
        return odd

    @model_validator(mode="after")
    def _check_together(self) -> Body:
        if self.raw and self.k == 10:
            raise PydanticCustomError("contradiction", "Ten cannot be raw.")
        return self


CASES: list[tuple[Any, str, str, str | None]] = [
    ([], "wrong_type", "The body must be an object, not a list.", None),
    (None, "wrong_type", "The body must be an object, not null.", None),
    ({"input": 3}, "wrong_type", "`input` must be a string or a list of strings, not a number.", "input"),
    ({"input": {}}, "wrong_type", "`input` must be a string or a list of strings, not an object.", "input"),
    ({"input": ["a", 3]}, "wrong_type", "`input[1]` must be a string, not a number.", "input[1]"),
    ({"input": [["a"]]}, "wrong_type", "`input[0]` must be a string, not a list.", "input[0]"),
    ({"pairs": ["a", None]}, "wrong_type", "`pairs[1]` must be a string or an object, not null.", "pairs[1]"),
    ({"pairs": [{"type": "text"}]}, "missing_field", "The body has no field `pairs[0].text`.", "pairs[0].text"),
    ({"format": "int8"}, "wrong_value", "`format` must be 'float' or 'base64', not 'int8'.", "format"),
    ({"format": 3}, "wrong_value", "`format` must be 'float' or 'base64', not 3.", "format"),
    ({"format": None}, "wrong_value", "`format` must be 'float' or 'base64', not null.", "format"),
    ({"k": 0}, "out_of_range", "`k` must be at least 1, not 0.", "k"),
    ({"k": 11}, "out_of_range", "`k` must be at most 10, not 11.", "k"),
    ({"k": 2.5}, "wrong_type", "`k` must be an integer, not 2.5.", "k"),
    ({"k": 2.0}, "wrong_type", "`k` must be an integer, not 2.0.", "k"),
    ({"k": True}, "wrong_type", "`k` must be an integer, not a boolean.", "k"),
    ({"k": "3"}, "wrong_type", "`k` must be an integer, not a string.", "k"),
    ({"weight": 0}, "out_of_range", "`weight` must be above 0.0, not 0.", "weight"),
    ({"weight": 1.5}, "out_of_range", "`weight` must be below 1.0, not 1.5.", "weight"),
    ({"weight": "x"}, "wrong_type", "`weight` must be a number, not a string.", "weight"),
    ({"names": []}, "too_short", "`names` has 0 items; it must have at least 1.", "names"),
    ({"names": ["a"] * 4}, "too_long", "`names` has 4 items; it must have at most 3.", "names"),
    ({"word": "a"}, "too_short", "`word` must have at least 2 characters.", "word"),
    ({"word": "abcde"}, "too_long", "`word` must have at most 4 characters.", "word"),
    ({"raw": "yes"}, "wrong_type", "`raw` must be a boolean, not a string.", "raw"),
    ({"messages": {}}, "wrong_type", "`messages` must be a list of objects, not an object.", "messages"),
    ({"messages": [{}]}, "missing_field", "The body has no field `messages[0].content`.", "messages[0].content"),
    (
        {"messages": [{"content": "a"}, {"content": 3}]},
        *("wrong_type", "`messages[1].content` must be a string or a list, not a number.", "messages[1].content"),
    ),
    (
        {"messages": [{"content": [{"type": "sound"}]}]},
        "wrong_value",
        "`messages[0].content[0]` has the 'type' 'sound'; it must be 'text' or 'picture'.",
        "messages[0].content[0]",
    ),
    (
        {"messages": [{"content": [{"url": "a"}]}]},
        "missing_field",
        "`messages[0].content[0]` has no field 'type'.",
        "messages[0].content[0]",
    ),
    (
        {"messages": [{"content": [{"type": "picture"}]}]},
        "missing_field",
        "The body has no field `messages[0].content[0].url`.",
        "messages[0].content[0].url",
    ),
    (
        {"one": {"type": "text", "text": "a", "txet": "b"}},
        *("unknown_field", "The body has an unknown field, `one.txet`.", "one.txet"),
    ),
    ({"one": 3}, "wrong_type", "`one` must be an object, not a number.", "one"),
    ({"odd": 2}, "even", "`odd`: 2 is even.", "odd"),
    ({"raw": True, "k": 10}, "contradiction", "Ten cannot be raw.", None),
]


@pytest.mark.parametrize(("body", "code", "message", "param"), CASES, ids=[str(case[0]) for case in CASES])
def test_the_first_error_names_the_field_as_the_client_sent_it(
    body: object, code: str, message: str, param: str | None
) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    error = to_input_error(caught.value, Body, body)
    assert (error.code, error.message, error.param) == (code, message, param)


def test_a_list_is_validated_only_up_to_its_first_error() -> None:
    with pytest.raises(ValidationError) as caught:
        TextsBody.model_validate({"texts": ["a", *[3] * 1000]})
    assert caught.value.error_count() == 1


def test_very_many_errors_are_counted_and_not_listed() -> None:
    body: dict[str, list[object]] = {"pairs": [{}] * 20_000}
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    error = to_input_error(caught.value, Body, body)
    assert error.code == "too_many_faults"
    assert "000 errors" in error.message
