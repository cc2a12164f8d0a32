"""The slice's part of the one OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx2

    from tests.files.conftest import Person

OPERATIONS = {
    "post /api/upload/": "files.upload",
    "get /api/files/": "files.index",
    "post /api/files/move/": "files.move",
    "get /api/files/{file_id}/": "files.detail",
    "delete /api/files/{file_id}/": "files.delete",
    "get /api/files/{file_id}/content": "files.content",
    "get /api/files/{file_id}/thumbnail": "files.thumbnail",
    "post /api/files/{file_id}/retry": "files.retry",
    "post /upload/": "files.upload.root",
    "get /files/": "files.index.root",
}


@pytest.fixture
async def document(ada: Person) -> Any:
    """The merged document, as a client gets it."""
    answer: httpx2.Response = await ada.client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


async def test_every_operation_is_there_once(document: Any) -> None:
    """Under its address and its own id, beside those of the other slices."""
    found = {
        f"{m} {path}": o["operationId"]
        for path, item in document["paths"].items()
        for m, o in item.items()
    }
    assert {name: found.get(name) for name in OPERATIONS} == OPERATIONS
    assert len(set(found.values())) == len(found)
    assert "post /api/images" in found


@pytest.mark.parametrize("name", OPERATIONS)
async def test_each_declares_what_it_needs_and_answers(document: Any, name: str) -> None:
    """Security, tag, errors as problems; deprecated where there is a better address."""
    method, _, path = name.partition(" ")
    operation = document["paths"][path][method]
    assert operation["security"] == [{"bearer": []}, {"session": []}]
    assert operation["tags"] == ["files"]
    assert operation.get("deprecated", False) == (not path.startswith("/api/"))
    assert "401" in operation["responses"]
    for status, answer in operation["responses"].items():
        if status >= "4" and status.isdigit():
            assert list(answer["content"]) == ["application/problem+json"]


async def test_references_lead_somewhere(document: Any) -> None:
    """Every `$ref` names a component."""
    names: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                names.add(value["$ref"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    for name in names:
        place = document
        for part in name.removeprefix("#/").split("/"):
            place = place[part]
    assert "#/components/schemas/File" in names


async def test_the_upload_is_multipart_with_a_binary_file(document: Any) -> None:
    """So that Swagger UI shows a button to choose one."""
    body = document["paths"]["/api/upload/"]["post"]["requestBody"]["content"]
    assert list(body) == ["multipart/form-data"]
    name = body["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][name]["properties"]["file"]["type"] == "string"
