"""The same rules at every edge: one request to FastAPI, to Django and to gRPC, and equal answers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import httpx2
import pytest
from google.rpc import error_details_pb2 as details
from grpc_status import rpc_status

from atelier.files import django_setup
from atelier.proto.books.v1 import books_pb2 as pb
from atelier.proto.books.v1.books_pb2_grpc import BookServiceStub
from atelier.roles import api
from atelier.settings import Settings
from tests.api.operations import BOOK, PHOTO
from tests.api.people import sign_up
from tests.http.support import served
from tests.rpc.support import serving
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
