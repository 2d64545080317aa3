"""Many rows in one statement, at the driver's speed: Core costs about 100 us a row to compile and bind, the driver 10 to 20.

SQL text is built only from our own table and column names; values are always bound.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from models.errors import Conflict

CHUNK = 400
"""Keys in one IN list, rows in one VALUES list: PostgreSQL takes 65,535 parameters, SQLite 32,766."""


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """`items` in lists of at most `size`."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def mark(connection: Connection) -> str:
    """The driver's placeholder: `?` on SQLite, `%s` on PostgreSQL."""
    return "?" if connection.dialect.name == "sqlite" else "%s"


def run(connection: Connection, sql: str, values: Sequence[Any] = ()) -> Any:
    """One driver-level statement; `sql` uses `?` for values on every database."""
    return connection.exec_driver_sql(_translate(connection.dialect.name, sql), tuple(values))


@cache
def _translate(dialect: str, sql: str) -> str:
    return sql if dialect == "sqlite" else sql.replace("?", "%s")


def select_in(
    connection: Connection, sql: str, keys: Collection[Any], before: Sequence[Any] = (), after: Sequence[Any] = ()
) -> list[Any]:
    """Rows of `sql` whose `IN (*)` holds `keys`, in as many statements as it takes. Keys are sorted: a stable lock order."""
    rows: list[Any] = []
    for part in chunks(sorted(keys)):
        filled = sql.replace("(*)", f"({', '.join('?' * len(part))})")
        rows.extend(run(connection, filled, [*before, *part, *after]).fetchall())
    return rows


def upsert(
    connection: Connection,
    table: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    guard: str | None = None,
    update: Sequence[str] | None = None,
) -> int:
    """Insert `rows` (all with the same columns) or update those that exist, and return how many rows were written.

    `guard`: a condition on `old` (the stored row) and `new`; a row that fails it is left alone. `update`: the columns an
    existing row takes over (default: all but the key; empty: do nothing).
    """
    if not rows:
        return 0
    columns = tuple(rows[0])
    changing = tuple(column for column in (columns if update is None else update) if column not in key)
    head, tail = _upsert_sql(table, columns, tuple(key), changing, guard)
    written = 0
    for part in chunks(rows):
        row = f"({', '.join('?' * len(columns))})"
        sql = f"{head} {', '.join([row] * len(part))} {tail}"
        result = run(connection, sql, [line[column] for line in part for column in columns])
        written += max(result.rowcount, 0)
    return written


@cache
def _upsert_sql(
    table: str, columns: tuple[str, ...], key: tuple[str, ...], changing: tuple[str, ...], guard: str | None
) -> tuple[str, str]:
    head = f"INSERT INTO {table} AS old ({', '.join(columns)}) VALUES"
    tail = f"ON CONFLICT ({', '.join(key)}) DO "
    if not changing:
        return head, tail + "NOTHING"
    tail += "UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in changing)
    return head, tail + (f" WHERE {guard.replace('new.', 'excluded.')}" if guard else "")


def update_guarded(
    connection: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], guard: str | None = None
) -> None:
    """Update rows that exist, all or none.

    Raises:
        Conflict: a row is gone or fails `guard` (a condition on its columns with one `?`, bound to the row's `guard` value).
    """
    if not rows:
        return
    columns = [column for column in rows[0] if column not in key and column != "guard"]
    sql = f"UPDATE {table} SET {', '.join(f'{column} = ?' for column in columns)} WHERE "  # noqa: S608 - our own names
    sql += " AND ".join(f"{column} = ?" for column in key) + (f" AND {guard}" if guard else "")
    names = [*columns, *key, *(["guard"] if guard else [])]
    values = [tuple(row[name] for name in names) for row in rows]
    result = connection.exec_driver_sql(_translate(connection.dialect.name, sql), values)
    if result.rowcount != len(rows):
        raise Conflict(f"{table}: {len(rows) - result.rowcount} of {len(rows)} rows changed meanwhile")
