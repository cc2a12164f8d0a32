"""Who may do what, by role and by key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atelier.auth import (
    GRANTABLE,
    RIGHTS,
    NotAllowed,
    Principal,
    Right,
    Role,
    has,
    is_person,
    may,
    require,
    reserved,
)
from atelier.auth.principal import ROLE_RIGHTS
from atelier.errors import NotFound

SPACE, OTHER = 7, 8
READ = {Right.IMAGES_READ, Right.TASKS_READ, Right.FILES_READ}
WRITE = {Right.IMAGES_WRITE, Right.TASKS_WRITE, Right.FILES_WRITE}


def member(role: Role, rights: frozenset[Right] | None = None) -> Principal:
    """A member of the space, or a key of theirs with these rights."""
    return Principal(3, "s", rights=rights, key_id=rights and 1, roles={SPACE: role})


def test_every_right_says_what_it_is() -> None:
    """Pages and forms show the sentence."""
    assert set(RIGHTS) == set(Right)


@pytest.mark.parametrize(
    ("role", "more"),
    [
        (Role.VIEWER, READ | {Right.BOOKS_READ, Right.BOOKS_WRITE}),
        (Role.WORKER, {Right.TASKS_WORK}),
        (Role.EDITOR, WRITE),
        (Role.OWNER, {Right.MANAGE}),
    ],
)
def test_each_role_adds_its_rights_to_those_of_the_role_before(
    role: Role, more: set[Right]
) -> None:
    """Viewers see, workers also take tasks, editors also change, owners also manage."""
    before = list(Role)[: list(Role).index(role)]
    assert ROLE_RIGHTS[role] == more | (ROLE_RIGHTS[before[-1]] if before else set())


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("role", list(Role))
def test_a_member_may_what_their_role_says_and_only_there(role: Role, right: Right) -> None:
    """In another space they are a stranger."""
    assert may(member(role), SPACE, right) == (right in ROLE_RIGHTS[role])
    assert not may(member(role), OTHER, right)


@pytest.mark.parametrize("right", list(Right))
def test_a_key_may_what_both_it_and_its_maker_may(right: Right) -> None:
    """A key of a viewer with the right to write still writes nothing."""
    key = member(Role.VIEWER, frozenset({Right.IMAGES_READ, Right.IMAGES_WRITE}))
    assert may(key, SPACE, right) == (right is Right.IMAGES_READ)


def test_books_are_shared_by_all_spaces() -> None:
    """A person may change them; a key needs the right."""
    assert may(member(Role.VIEWER), None, Right.BOOKS_WRITE)
    assert not may(member(Role.OWNER), None, Right.IMAGES_READ)
    assert not may(member(Role.OWNER, frozenset({Right.BOOKS_READ})), None, Right.BOOKS_WRITE)


def test_books_may_be_left_to_administrators() -> None:
    """Then who is none reads them, and their keys do, whatever these had been given."""
    assert reserved("members") == frozenset()
    withheld = reserved("administrators")
    for principal in (member(Role.OWNER), member(Role.OWNER, GRANTABLE)):
        other = replace(principal, withheld=withheld)
        for space_id in (None, SPACE):
            assert may(principal, space_id, Right.BOOKS_WRITE)
            assert may(other, space_id, Right.BOOKS_READ)
            assert not may(other, space_id, Right.BOOKS_WRITE)
        with pytest.raises(NotAllowed, match="only administrators"):
            has(other, Right.BOOKS_WRITE)
        assert may(other, SPACE, Right.IMAGES_WRITE)


def test_a_stranger_finds_nothing_and_a_member_is_told() -> None:
    """404 for who does not see the space, 403 for who sees it without the right."""
    with pytest.raises(NotFound, match="such image"):
        require(member(Role.OWNER), OTHER, Right.IMAGES_READ, "There is no such image.")
    with pytest.raises(NotAllowed):
        require(member(Role.VIEWER), SPACE, Right.IMAGES_WRITE, "There is no such image.")
    require(member(Role.EDITOR), SPACE, Right.IMAGES_WRITE, "There is no such image.")


def test_no_key_manages() -> None:
    """Keys, accounts, passwords and members are for persons."""
    assert Right.MANAGE not in GRANTABLE
    key = member(Role.OWNER, frozenset({Right.IMAGES_READ}))
    with pytest.raises(NotAllowed):
        is_person(key)
    with pytest.raises(NotAllowed, match="images:write"):
        has(key, Right.IMAGES_WRITE)
    is_person(member(Role.VIEWER))
    has(member(Role.VIEWER), Right.IMAGES_WRITE)
