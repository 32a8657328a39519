"""What is generated of deploy/helm: `python -m tests.chart_files` (`make chart`) writes it, a test compares it.

The settings in values.schema.json come from sidecar/settings.py, the table in README.md from values.yaml, and the
rendered examples from Helm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sidecar.config import Settings, variable_names
from tests.integration.deploy.helm.chart import CHART, EXAMPLES, example, render_text

SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
GOLDEN = Path(__file__).parent / "integration" / "deploy" / "helm" / "golden"
BEGIN, END = "<!-- values -->\n", "<!-- /values -->\n"

# Those that the chart sets from values of its own, and those that only `sidecar search` reads.
SET_BY_THE_CHART = {
    "ALLOW_ANONYMOUS": "apiKeys.anonymous",
    "API_KEYS_FILE": "apiKeys.existingSecret",
    "BIND_PORT": "service.port",
    "DATABASE_URL_FILE": "database.existingSecret",
    "INGEST": "ingest.enabled",
    "LISTEN_DATABASE_URL_FILE": "database.listenKey",
    "PORT": "service.port",
    "REQUIRE_CUDA": "gpu.count",
    "SEARCH_DATABASE_URL_FILE": "searchDatabase.existingSecret",
    "SHUTDOWN_TIMEOUT_S": "pods.shutdownSeconds",
}
OF_THE_COMMAND_LINE = {"SIDECAR_URL"}
# Of Hugging Face's library and of CUDA.
OTHERS = {"HF_ENDPOINT", "HF_HUB_DOWNLOAD_TIMEOUT", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"}

_INCLUDED = re.compile(r"^kind: PrometheusRule$|^data:\n  sidecar\.json:", re.MULTILINE)
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):(?P<rest>.*)$")


def settings_schema() -> dict[str, Any]:
    """The schema of `settings`: every setting by its name but secrets and those that the chart sets."""
    by_alias = Settings.model_json_schema(by_alias=True)["properties"]
    names = [name for field in Settings.model_fields for name in variable_names(field)]
    properties = {
        name: _property(by_alias[name])
        for name in names
        if name in by_alias
        and name not in SET_BY_THE_CHART
        and name not in OF_THE_COMMAND_LINE
        and not _is_secret(by_alias[name])
    }
    properties |= {name: {"type": ["string", "integer"]} for name in sorted(OTHERS)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _is_secret(schema: dict[str, Any]) -> bool:
    return any(choice.get("format") == "password" for choice in schema.get("anyOf", ()))


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    schema = {**schema, **next((choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"), {})}
    if schema["type"] == "array":  # separated by commas in the environment
        return {"type": "string"}
    if schema["type"] == "boolean":
        return {"enum": [True, False, "1", "0"]}
    kept = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minLength")
    return {key: schema[key] for key in kept if key in schema}


def schema_text() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["$defs"]["settings"] = settings_schema()
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def documented_values() -> Iterator[tuple[str, str, str]]:
    """Name, default and comment of each value that has one."""
    defaults = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    comment: list[str] = []
    path: list[tuple[int, str]] = []
    for line in VALUES.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip("# ").rstrip())
            continue
        match = _KEY.match(line)
        if match:
            depth = len(match["indent"])
            path = [*(step for step in path if step[0] < depth), (depth, match["key"])]
            name = ".".join(key for _, key in path)
            if comment:
                yield name, _default(defaults, name), " ".join(comment)
        comment = []


def _default(value: Any, name: str) -> str:
    for key in name.split("."):
        value = value[key]
    return json.dumps(value, ensure_ascii=False)


def values_table() -> str:
    lines = ["| Value | Default | What it does |", "|---|---|---|"]
    lines += [f"| `{name}` | `{default}` | {comment} |" for name, default, comment in documented_values()]
    return "\n".join(lines) + "\n"


def readme_text() -> str:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + "\n" + values_table() + "\n" + END + rest.partition(END)[2]


def golden_path(name: str) -> Path:
    return GOLDEN / f"{name}.yaml"


def golden_text(name: str) -> str:
    """A rendered example without the rules and the dashboard, which another test compares with their files."""
    documents = re.split(r"^---\n", render_text(example(name)), flags=re.MULTILINE)
    return "---\n".join(document for document in documents if not _INCLUDED.search(document))


def main() -> None:
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    README.write_text(readme_text(), encoding="utf-8")
    for name in EXAMPLES:
        golden_path(name).write_text(golden_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
