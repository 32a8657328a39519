from pathlib import Path

from sidecar.config import Settings, settings_table

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_described() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undescribed == []


def test_the_page_lists_the_settings_as_they_are() -> None:
    assert PAGE.read_text().endswith(settings_table()), "docs/settings.md is out of date: run `make docs`"
