"""`make migration`: writes the initial migration anew from the tables' metadata, while nothing has been released yet.

After the first release this stays as it is and `python -m models.migrations.generate NAME` writes the next one.
"""

import sys
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from models.migrations import HEAD
from models.tables import Base

HEADER = '''"""The first schema: connections, inbox, mirror, customers, matches, changes, access.

Generated from `models/tables` by `make migration` until the first release; frozen from then on.
"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    {body}
'''


def initial_migration() -> str:
    """The text of the initial migration for today's metadata."""
    with create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": Base.metadata})
        operations = produce_migrations(context, Base.metadata).upgrade_ops
        assert operations is not None  # noqa: S101  # an empty database always differs
        code = render_python_code(operations, render_as_batch=False)
        body = "\n".join(line for line in code.splitlines() if "### " not in line).strip()
        return HEADER.format(revision=HEAD, body=body)


def main() -> int:
    """Write the file; ruff formats it afterwards (see the Makefile)."""
    path = Path(__file__).parent / "versions" / f"{HEAD}.py"
    path.write_text(initial_migration(), encoding="utf-8")
    sys.stdout.write(f"{path.name} written\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
