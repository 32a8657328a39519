"""Query vectors in SQL."""

from sidecar.operations.migrations import run_sql_file

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/0024_query_vectors.sql."""
    run_sql_file("tables/0024_query_vectors.sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
