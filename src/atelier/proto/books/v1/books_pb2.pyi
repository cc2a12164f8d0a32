import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BookChangeType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOOK_CHANGE_TYPE_UNSPECIFIED: _ClassVar[BookChangeType]
    BOOK_CHANGE_TYPE_CREATED: _ClassVar[BookChangeType]
    BOOK_CHANGE_TYPE_UPDATED: _ClassVar[BookChangeType]
    BOOK_CHANGE_TYPE_DELETED: _ClassVar[BookChangeType]
BOOK_CHANGE_TYPE_UNSPECIFIED: BookChangeType
BOOK_CHANGE_TYPE_CREATED: BookChangeType
BOOK_CHANGE_TYPE_UPDATED: BookChangeType
BOOK_CHANGE_TYPE_DELETED: BookChangeType

class Book(_message.Message):
    __slots__ = ("id", "title", "author", "publication_date", "etag")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_DATE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    id: int
    title: str
    author: str
    publication_date: str
    etag: str
    def __init__(self, id: _Optional[int] = ..., title: _Optional[str] = ..., author: _Optional[str] = ..., publication_date: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class GetBookRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class GetBookResponse(_message.Message):
    __slots__ = ("book",)
    BOOK_FIELD_NUMBER: _ClassVar[int]
    book: Book
    def __init__(self, book: _Optional[_Union[Book, _Mapping]] = ...) -> None: ...

class ListBooksRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "author", "title")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    author: str
    title: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., author: _Optional[str] = ..., title: _Optional[str] = ...) -> None: ...

class ListBooksResponse(_message.Message):
    __slots__ = ("books", "next_page_token", "sequence")
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[Book]
    next_page_token: str
    sequence: int
    def __init__(self, books: _Optional[_Iterable[_Union[Book, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class WatchBooksRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class WatchBooksResponse(_message.Message):
    __slots__ = ("sequence", "change")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    change: BookChange
    def __init__(self, sequence: _Optional[int] = ..., change: _Optional[_Union[BookChange, _Mapping]] = ...) -> None: ...

class BookChange(_message.Message):
    __slots__ = ("event_id", "type", "time", "book_sequence", "book")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BOOK_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BOOK_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    type: BookChangeType
    time: _timestamp_pb2.Timestamp
    book_sequence: int
    book: Book
    def __init__(self, event_id: _Optional[str] = ..., type: _Optional[_Union[BookChangeType, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., book_sequence: _Optional[int] = ..., book: _Optional[_Union[Book, _Mapping]] = ...) -> None: ...
