"""A status that says what is embedded again, what is tried again, and how a watch is in one word."""

from sidecar.operations.migrations import run_sql_file

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0021_health.sql."""
    run_sql_file("tables/0021_health.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
