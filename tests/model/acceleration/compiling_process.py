"""A process that compiles a small tower, and prints as JSON what came of it; run under a user id without a name."""

from __future__ import annotations

import json
import logging
import os
import pwd
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def main() -> None:
    sys.stdout.write(json.dumps({"is_named": _is_named(), **_compile(sys.argv[1] == "broken")}))


def _is_named() -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(os.geteuid()))
    return False


def _compile(broken: bool) -> dict[str, Any]:
    import torch

    from sidecar.model.acceleration.compilation import compile_tower

    messages: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("sidecar")
    logger.setLevel(logging.INFO)
    logger.addHandler(Keeping())
    if broken:
        os.environ["CXX"] = "/nowhere/c++"  # read when the compiler is imported
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 16)

    def tower(batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.nn.functional.gelu(layer(batch.float())), dim=-1)

    with torch.inference_mode():  # the example too, as the compiler tells tensors made outside apart
        example = torch.rand(2, 8)
        compiled = compile_tower(tower, example, "texts", "fp32")
        with torch._dynamo.config.patch(error_on_recompile=True):
            errors = [float((compiled(rows) - tower(rows)).abs().max()) for rows in map(_rows, (1, 2, 3, 7, 32))]
    return {
        "is_compiled": compiled is not tower,
        "largest_error": max(errors),
        "messages": messages,
        "children": _children(),
        "built_in": [os.environ["TORCHINDUCTOR_CACHE_DIR"], os.environ["TRITON_CACHE_DIR"]],
    }


def _rows(count: int) -> Any:
    import torch

    return torch.rand(count, 8)


def _children() -> list[str]:
    """The processes that this one has left running; none where the system does not list them."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return listed.read_text().split() if listed.exists() else []


if __name__ == "__main__":
    main()
