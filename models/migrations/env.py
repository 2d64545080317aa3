"""Alembic's door: runs the migrations on the connection that `run.py` opened and locked. There is no alembic.ini."""

from alembic import context

from models.store.failpoints import fp
from models.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite can't alter most things in place
    compare_type=True,
    compare_server_default=True,
    on_version_apply=lambda **_: fp("after_migration_step"),
)
with context.begin_transaction():  # the caller's own transaction: all pending migrations or none
    context.run_migrations()
