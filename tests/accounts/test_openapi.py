"""Accounts in the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def test_openapi_says_what_can_happen(app: FastAPI) -> None:
    """Every operation declares its errors as problems; the form and the header are described."""
    document = app.openapi()
    operations = [
        (path, method, op)
        for path, item in document["paths"].items()
        for method, op in item.items()
    ]
    for path, method, operation in operations:
        errors = {
            status: found for status, found in operation["responses"].items() if status >= "400"
        }
        assert errors, (path, method)
        assert all("application/problem+json" in found["content"] for found in errors.values()), (
            path,
            method,
        )
    paths = document["paths"]
    form = paths["/api/auth/token"]["post"]["requestBody"]["content"][
        "application/x-www-form-urlencoded"
    ]["schema"]
    assert set(form["required"]) == {"username", "password"}
    assert [p["name"] for p in paths["/api/users"]["post"]["parameters"]] == ["Idempotency-Key"]
    assert paths["/users"]["post"]["deprecated"]
    assert paths["/user/{user_id}"]["delete"]["deprecated"]
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert scheme["flows"]["password"]["tokenUrl"] == "/api/auth/token"
    assert paths["/api/users/me"]["get"]["security"] == [{"bearer": []}, {"session": []}]
    assert not paths["/api/users"]["post"].get("security")
