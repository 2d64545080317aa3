"""Many rows in one statement, at the driver's speed: Core costs about 100 us a row to compile and bind, the driver 10 to 20.

SQLite gets lists of placeholders; PostgreSQL one array a column (`unnest`, `= ANY`), so that its statements stay short and are
prepared once: a thousand placeholders cost both sides more than the work. SQL text is built only from our own table and
column names; values are always bound.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from models.errors import Conflict
from models.tables import Base

CHUNK = 400
"""Keys in one IN list, rows in one VALUES list: PostgreSQL takes 65,535 parameters, SQLite 32,766."""


_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]


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
    if not keys:
        return []
    if _is_postgres(connection):
        sql = sql.replace("IN (*)", "= ANY(?)")
        return list(run(connection, sql, [*before, array(sorted(keys)), *after]).fetchall())
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
    if _is_postgres(connection):
        sql = f"{head} SELECT * FROM {unnest(table, columns)} {tail}"
        return max(int(run(connection, sql, _arrays(rows, columns)).rowcount), 0)
    written = 0
    row = f"({', '.join('?' * len(columns))})"
    for part in chunks(rows):
        sql = f"{head} VALUES {', '.join([row] * len(part))} {tail}"
        result = run(connection, sql, [line[column] for line in part for column in columns])
        written += max(result.rowcount, 0)
    return written


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _arrays(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[Any]:
    """The rows' values, an array for each column."""
    return [array([row[column] for row in rows]) for column in columns]


def array(values: Sequence[Any]) -> Any:
    """What psycopg takes for an array of texts, integers, booleans and NULLs: PostgreSQL's text form, since psycopg itself
    writes each element in Python by a regular expression, which was a quarter of a worker's time. Bytes go as they are (`%b`).

    Raises:
        TypeError: a value is of another kind.
    """
    if values and isinstance(values[0], bytes):
        return list(values)
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"no element of an array: {type(value).__name__}")


@cache
def unnest(table: str, columns: tuple[str, ...]) -> str:
    """A rows source of one array parameter for each column, typed as the table's columns are."""
    types = Base.metadata.tables[table].columns
    kinds = {column: types[column].type.compile(dialect=_POSTGRES) for column in columns}
    casts = (f"{'%b' if kind == 'BYTEA' else '?'}::{kind}[]" for kind in kinds.values())
    names = (f'"{column}"' for column in columns)  # "partition" is a word of SQL
    return f"unnest({', '.join(casts)}) AS given ({', '.join(names)})"


@cache
def _upsert_sql(
    table: str, columns: tuple[str, ...], key: tuple[str, ...], changing: tuple[str, ...], guard: str | None
) -> tuple[str, str]:
    head = f"INSERT INTO {table} AS old ({', '.join(columns)})"
    tail = f"ON CONFLICT ({', '.join(key)}) DO "
    if not changing:
        return head, tail + "NOTHING"
    tail += "UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in changing)
    return head, tail + (f" WHERE {guard.replace('new.', 'excluded.')}" if guard else "")


def update(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]) -> None:
    """Update rows that exist, all or none.

    Raises:
        Conflict: a row is gone.
    """
    if not rows:
        return
    columns = tuple(column for column in rows[0] if column not in key)
    if _is_postgres(connection):
        given = unnest(table, (*columns, *key))
        settings = ", ".join(f"{column} = given.{column}" for column in columns)
        same = " AND ".join(f"old.{column} = given.{column}" for column in key)
        sql = f"UPDATE {table} AS old SET {settings} FROM {given} WHERE {same}"
        written = run(connection, sql, _arrays(rows, (*columns, *key))).rowcount
    else:
        settings = ", ".join(f"{column} = ?" for column in columns)
        sql = f"UPDATE {table} SET {settings} WHERE {' AND '.join(f'{column} = ?' for column in key)}"
        written = connection.exec_driver_sql(sql, [tuple(row[name] for name in (*columns, *key)) for row in rows]).rowcount
    if written != len(rows):
        raise Conflict(f"{table}: {len(rows) - written} of {len(rows)} rows are gone")
