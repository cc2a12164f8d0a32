"""The table `books`: one row is one book of the catalogue."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Date, Identity, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base


class Book(Base):
    """A book.

    `sequence` counts its events and is its ETag; filters search in the folded columns.
    `publication_date` is the first day of what is known, to a day, a month or a year.
    """

    __tablename__ = "books"
    __table_args__ = (
        CheckConstraint(
            "publication_precision IN ('day', 'month', 'year') AND "
            "date_trunc(publication_precision, publication_date::timestamp) = publication_date",
            name="publication_precision",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    publication_date: Mapped[date] = mapped_column(Date)
    publication_precision: Mapped[str] = mapped_column(Text, server_default="day")
    # Folded here: case-insensitive comparison in the database depends on its collation.
    title_folded: Mapped[str] = mapped_column(Text)
    author_folded: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)
