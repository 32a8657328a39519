"""Schema `sidecar` keeps what users call and read; everything else moves to `sidecar_internal`."""

from sidecar.operations.migrations import run_sql_file

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0019_two_schemas.sql."""
    run_sql_file("tables/0019_two_schemas.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables."""
