"""The table `books`: one row is one book of the catalogue."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Date, Identity, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from atelier.database import Base


class Book(Base):
    """A book.

    `sequence` counts its events and is its ETag; filters search in the folded columns.
    """

    __tablename__ = "books"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    publication_date: Mapped[date] = mapped_column(Date)
    # Folded here: case-insensitive comparison in the database depends on its collation.
    title_folded: Mapped[str] = mapped_column(Text)
    author_folded: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(Integer)
