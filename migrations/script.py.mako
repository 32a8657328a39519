"""${message}"""

from sidecar.operations.migrations import run_sql_file

revision = "${up_revision}"
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs sql/tables/${up_revision}_….sql."""
    run_sql_file("tables/${up_revision}_….sql")


def downgrade() -> None:
    """Nothing: the only way down is to `base`, which drops all tables. The version before works on newer ones."""
