"""Roles: installer, worker, reader."""

from sidecar.postgres.migrations import run_sql_file

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/0012_roles.up.sql."""
    run_sql_file("0012_roles.up.sql")


def downgrade() -> None:
    """Runs sql/0012_roles.down.sql."""
    run_sql_file("0012_roles.down.sql")
