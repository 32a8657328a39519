from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.alembic.user_project import Project


@pytest.fixture
def project(tmp_path: Path, database_url: str) -> Project:
    """The example project, on a migrated database in which it has not done anything yet."""
    return Project.copy_to(tmp_path / "project", database_url)
