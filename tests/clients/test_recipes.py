"""The recipes of foreign clients work as written, with unmodified libraries, beside a sidecar with the demo's model."""

from __future__ import annotations

import pytest

from tests.clients.conftest import OpenPage
from tests.clients.programs import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

# Page, the heading that a part begins with, and the tool that runs it. A part ends where the next one begins.
PARTS = [
    ("openai.md", "## Python", "python"),
    ("openai.md", "## JavaScript", "node"),
    ("cohere.md", "## Python", "python"),
    ("cohere.md", "## JavaScript", "node"),
    ("huggingface.md", "## Python", "python"),
    ("huggingface.md", "## JavaScript", "node"),
    ("langchain.md", "## JavaScript", "node"),
    ("haystack.md", "## Embedders", "python"),
    ("litellm.md", "# LiteLLM", "python"),
    ("ai-sdk.md", "# Vercel", "node"),
]


@pytest.mark.parametrize(("name", "heading", "tool"), PARTS)
def test_the_page_works(name: str, heading: str, tool: str, open_page: OpenPage) -> None:
    need(tool)
    open_page(name).follow(below=heading, until=_next_heading(name, heading))


def _next_heading(name: str, heading: str) -> str:
    headings = [part[1] for part in PARTS if part[0] == name]
    return [*headings, ""][headings.index(heading) + 1]
