"""${message}"""

from sidecar.postgres.migrations import run_sql_file

revision = "${up_revision}"
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/${up_revision}_….up.sql."""
    run_sql_file("${up_revision}_….up.sql")


def downgrade() -> None:
    """Runs sql/${up_revision}_….down.sql."""
    run_sql_file("${up_revision}_….down.sql")
