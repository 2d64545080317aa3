"""What all tables share: one metadata with named constraints, and short column helpers.

Times are BIGINT unix time in UTC: seconds in plain names (Stripe's own unit), milliseconds where the name ends in `_ms`.
Money is BIGINT minor units or text of an exact decimal. Stripe ids are text and never parsed.
"""

from typing import Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Integer, LargeBinary, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

# SQLite only auto-increments INTEGER PRIMARY KEY; elsewhere these are 64 bit.
BigId = BigInteger().with_variant(Integer, "sqlite")

text_key = Annotated[str, mapped_column(Text, primary_key=True)]
text = Annotated[str, mapped_column(Text)]
text_null = Annotated[str | None, mapped_column(Text)]
big = Annotated[int, mapped_column(BigInteger)]
big_null = Annotated[int | None, mapped_column(BigInteger)]
blob_null = Annotated[bytes | None, mapped_column(LargeBinary)]
auto_id = Annotated[int, mapped_column(BigId, primary_key=True, autoincrement=True)]


class Base(DeclarativeBase):
    """Declarative base of every table."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, int: BigInteger}

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
