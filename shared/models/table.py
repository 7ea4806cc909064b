"""What all tables share: text, aware times, exact money, JSONB."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, FetchedValue, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


class Base(DeclarativeBase):
    """Text, aware times, exact money and JSONB everywhere."""

    type_annotation_map = {
        str: Text(),
        datetime: DateTime(timezone=True),
        Decimal: Numeric(19, 4),
        dict[str, Any]: JSONB(),
        list[dict[str, Any]]: JSONB(),
    }


def by_database() -> Any:
    """Leave a column out of the INSERT: the database has a default or a trigger for it."""
    return mapped_column(server_default=FetchedValue())
