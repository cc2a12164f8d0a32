"""Refreshing and signing out."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from atelier.accounts import families, sealing, sessions
from atelier.auth import Tokens
from atelier.wire import cursors
from tests.problems import is_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    from conftest import Accounts, Person

    from atelier.http.resources import Resources


UNKNOWN = uuid.UUID(int=7).hex  # a family that is not there


class TestRefresh:
    """POST /api/auth/refresh."""

    async def test_it_gives_the_next_pair(self, anna: Person) -> None:
        """Which works."""
        answer = await anna.refresh()
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        old, anna.pair = anna.pair, answer.json()
        assert anna.pair["refresh_token"] != old["refresh_token"]
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200

    async def test_reuse_kills_the_family(
        self, anna: Person, grace_over: Callable[[], Awaitable[object]]
    ) -> None:
        """The old token, its successor and the family's access tokens are all revoked."""
        stolen = anna.pair["refresh_token"]
        anna.pair = (await anna.refresh()).json()
        assert (await anna.me()).status_code == 200
        await grace_over()
        assert is_problem(await anna.refresh(stolen), 401, "dead-refresh-token")
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")
        assert is_problem(await anna.me(), 401, "unauthenticated")

    async def test_other_sign_ins_of_the_user_live_on(
        self, accounts: Accounts, anna: Person, grace_over: Callable[[], Awaitable[object]]
    ) -> None:
        """A family is one sign-in."""
        other = (await accounts.sign_in(anna.email)).json()
        stolen = anna.pair["refresh_token"]
        await anna.refresh()
        await grace_over()
        await anna.refresh(stolen)
        anna.pair = other
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200

    async def test_for_ten_seconds_it_gives_the_same_pair(self, anna: Person) -> None:
        """A second tab, or a client that lost the answer, goes on with the first one's tokens."""
        first = await anna.refresh()
        again = await anna.refresh()
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.content == again.content
        anna.pair = again.json()
        assert (await anna.me()).status_code == 200
        assert (await anna.refresh()).status_code == 200

    async def test_many_at_once_get_equal_pairs(self, anna: Person) -> None:
        """One exchanges the token, and the others come within its grace."""
        answers = await asyncio.gather(*(anna.refresh() for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        anna.pair = answers[0].json()
        assert (await anna.me()).status_code == 200

    async def test_the_token_before_the_last_has_no_grace(self, anna: Person) -> None:
        """Its successor has been used: no tab still needs it."""
        oldest = anna.pair["refresh_token"]
        for _ in range(2):
            anna.pair = (await anna.refresh()).json()
        assert is_problem(await anna.refresh(oldest), 401, "dead-refresh-token")
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")

    async def test_without_the_secret_no_successor_can_be_made(
        self, anna: Person, resources: Resources
    ) -> None:
        """A token is derived from the one before, and yet tells a thief nothing of the next."""
        old = anna.pair["refresh_token"]
        new = (await anna.refresh()).json()["refresh_token"]
        resources.tokens = Tokens("another secret of the tests, long enough")
        other = (await anna.refresh(old)).json()
        assert new not in str(other)

    async def test_it_ends_after_ninety_days_however_much_it_is_used(
        self, anna: Person, resources: Resources
    ) -> None:
        """Neither is the refresh token taken, nor an access token that was not seen before."""
        soon = (
            "UPDATE refresh_families SET ends_at = now() + interval '1 minute' WHERE user_id = $1"
        )
        await resources.database.fetch(soon, anna.id)
        anna.pair = (await anna.refresh()).json()
        bounded = "SELECT expires_at = ends_at AS same FROM refresh_families WHERE user_id = $1"
        row = await resources.database.fetchrow(bounded, anna.id)
        assert row is not None
        assert row["same"]
        over = "UPDATE refresh_families SET ends_at = now() WHERE user_id = $1"
        await resources.database.fetch(over, anna.id)
        assert is_problem(await anna.me(), 401, "unauthenticated")
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")

    async def test_an_expired_token_is_dead(self, anna: Person, resources: Resources) -> None:
        """After `refresh_token_days` without use."""
        await resources.database.fetch(
            "UPDATE refresh_families SET expires_at = now() WHERE user_id = $1", anna.id
        )
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")

    async def test_use_prolongs_its_life(self, anna: Person, resources: Resources) -> None:
        """The next token has the full life again."""
        soon = (
            "UPDATE refresh_families SET expires_at = now() + interval '1 minute' WHERE "
            "user_id = $1"
        )
        await resources.database.fetch(soon, anna.id)
        await anna.refresh()
        left = (
            "SELECT expires_at > now() + interval '29 days' AS long FROM refresh_families "
            "WHERE user_id = $1"
        )
        row = await resources.database.fetchrow(left, anna.id)
        assert row is not None
        assert row["long"]

    @pytest.mark.parametrize(
        "token", ["x", ".", "a.b", f"{UNKNOWN}.x", UNKNOWN, "\u0001.\u0001", "ключ.ключ"]
    )
    async def test_what_is_no_refresh_token_is_refused(self, anna: Person, token: str) -> None:
        """Without a 500 whatever it is."""
        assert is_problem(await anna.refresh(token), 401, "dead-refresh-token")

    async def test_an_access_token_does_not_refresh(self, anna: Person) -> None:
        """It is refused, and costs its owner nothing."""
        assert (await anna.refresh(anna.pair["access_token"])).status_code in {401, 422}
        assert (await anna.refresh()).status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"refresh_token": None},
            {"refresh_token": 7},
            {"refresh_token": ""},
            {"refresh_token": "x" * 201},
            [],
        ],
    )
    async def test_what_is_no_request_is_refused(
        self, client: httpx2.AsyncClient, body: Any
    ) -> None:
        """By its schema."""
        assert is_problem(await client.post("/api/auth/refresh", json=body), 422, "invalid")

    async def test_at_rest_tokens_are_digests(self, anna: Person, resources: Resources) -> None:
        """A reader of the table cannot sign in, nor can one who has another secret."""
        rows = await resources.database.fetch(
            "SELECT * FROM refresh_families WHERE user_id = $1", anna.id
        )
        secret = anna.pair["refresh_token"].partition(".")[2]
        plain = hashlib.sha256(secret.encode()).digest()
        assert [row["token_sha256"] for row in rows] == [sessions.keyed(resources.tokens, plain)]
        assert plain not in rows[0].values()

    async def test_expired_families_are_purged(
        self, anna: Person, boris: Person, resources: Resources
    ) -> None:
        """A day after their end; the others stay."""
        old = (
            "UPDATE refresh_families SET expires_at = now() - interval '25 hours' WHERE "
            "user_id = $1"
        )
        await resources.database.fetch(old, anna.id)
        assert await families.purge(resources.database) == 1
        assert (await boris.refresh()).status_code == 200

    async def test_used_and_old_links_are_purged(self, anna: Person, resources: Resources) -> None:
        """Those that can still be used stay."""
        add = """
            INSERT INTO account_links
                (kind, token_sha256, user_id, created_at, expires_at, used_at)
            VALUES ('reset', $1, $2, now(), now() + $3::interval, $4)
        """
        day = timedelta(days=1)
        for token, left, used in (
            (b"used", day, datetime.now(UTC)),
            (b"old", -2 * day, None),
            (b"good", day, None),
        ):
            await resources.database.fetch(add, token, anna.id, left, used)
        await families.purge(resources.database)
        links = "SELECT token_sha256 FROM account_links WHERE user_id = $1"
        left_over = await resources.database.fetch(links, anna.id)
        assert [row["token_sha256"] for row in left_over] == [b"good"]


class TestSignOut:
    """POST /api/auth/logout."""

    async def test_the_session_is_over(self, anna: Person) -> None:
        """For access tokens that were used before, at once, and for the refresh token."""
        assert (await anna.me()).status_code == 200
        answer = await anna.logout()
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await anna.me()).status_code == 401
        assert (await anna.refresh()).status_code == 401
        assert (await anna.logout()).status_code == 401

    async def test_other_sessions_live_on(self, accounts: Accounts, anna: Person) -> None:
        """Signing out on one machine does not sign out on another."""
        other = (await accounts.sign_in(anna.email)).json()
        await anna.logout()
        anna.pair = other
        assert (await anna.me()).status_code == 200

    async def test_it_needs_a_token(self, client: httpx2.AsyncClient) -> None:
        """Else there is no session to sign out."""
        assert (await client.post("/api/auth/logout")).status_code == 401


class TestSessions:
    """GET and DELETE /api/auth/sessions."""

    async def test_one_sees_where_one_is_signed_in(
        self, client: httpx2.AsyncClient, accounts: Accounts, anna: Person
    ) -> None:
        """Newest first: the program and address of each, and which this one is."""
        form = {"username": anna.email, "password": accounts.password}
        agent = {"User-Agent": "Old phone \u00e9".encode("latin-1") + b"x" * 300}
        await client.post("/api/auth/token", data=form, headers=agent)
        await accounts.person()  # somebody else
        answer = await client.get("/api/auth/sessions", headers=anna.headers)
        newest, own = answer.json()
        assert set(own) == {"id", "created_at", "used_at", "client", "current", "expires_at"}
        assert (newest["current"], own["current"]) == (False, True)
        assert newest["client"].startswith("Old phone")
        assert newest["client"].endswith("(127.0.0.1)")
        assert len(newest["client"]) == 200 + len(" (127.0.0.1)")
        assert anna.pair["refresh_token"].startswith(uuid.UUID(own["id"]).hex)

    async def test_use_is_seen(self, client: httpx2.AsyncClient, anna: Person) -> None:
        """Every refresh counts as use."""
        (before,) = (await client.get("/api/auth/sessions", headers=anna.headers)).json()
        anna.pair = (await anna.refresh()).json()
        (after,) = (await client.get("/api/auth/sessions", headers=anna.headers)).json()
        assert after["used_at"] > before["used_at"]
        assert after["created_at"] == before["created_at"]

    async def test_there_are_pages(
        self, client: httpx2.AsyncClient, accounts: Accounts, anna: Person
    ) -> None:
        """Of all sessions, each once."""
        for _ in range(4):
            await accounts.sign_in(anna.email)
        found, url = [], "/api/auth/sessions?limit=2"
        while url:
            page = await client.get(url, headers=anna.headers)
            found += [each["id"] for each in page.json()]
            url = page.links["next"]["url"] if "next" in page.links else ""
        assert len(found) == len(set(found)) == 5
        assert found[-1] == str(uuid.UUID(anna.pair["refresh_token"].partition(".")[0]))

    async def test_a_cursor_of_any_number_is_taken(
        self, client: httpx2.AsyncClient, anna: Person
    ) -> None:
        """One that was made up leads to a page, and never to an error of ours."""
        path = "/api/auth/sessions"
        for number in (-(2**63), 0, 2**63 - 1):
            cursor = cursors.encode((number,), (path, []))
            answer = await client.get(f"{path}?cursor={cursor}", headers=anna.headers)
            assert answer.status_code == 200

    async def test_one_ends_another_session(
        self, client: httpx2.AsyncClient, accounts: Accounts, anna: Person
    ) -> None:
        """It is over at once, and gone from the list; the present one goes on."""
        other = await accounts.enter(anna.email)
        session = str(uuid.UUID(other.pair["refresh_token"].partition(".")[0]))
        path = f"/api/auth/sessions/{session}"
        assert (await client.delete(path, headers=anna.headers)).status_code == 204
        assert (await other.me()).status_code == 401
        assert (await other.refresh()).status_code == 401
        assert is_problem(await client.delete(path, headers=anna.headers), 404, "not-found")
        (left,) = (await client.get("/api/auth/sessions", headers=anna.headers)).json()
        assert left["current"]

    @pytest.mark.parametrize("session", [None, UNKNOWN, "x", "%20", "x" * 60])
    async def test_what_is_not_ones_own_is_not_there(
        self, client: httpx2.AsyncClient, anna: Person, boris: Person, session: str | None
    ) -> None:
        """Somebody else's session is as unknown as one that never was."""
        theirs = session or str(uuid.UUID(boris.pair["refresh_token"].partition(".")[0]))
        answer = await client.delete(f"/api/auth/sessions/{theirs}", headers=anna.headers)
        assert is_problem(answer, 404, "not-found")
        assert (await boris.me()).status_code == 200


class TestSealing:
    """Sessions of the release before this one, whose digests were not keyed."""

    async def test_they_go_on(self, anna: Person, resources: Resources) -> None:
        """Once their digests are keyed; and only once, or another secret would revive them."""
        await make_old(resources, anna)
        assert is_problem(await anna.refresh(), 503, "unavailable")
        key, whole = partial(sessions.keyed, resources.tokens), timedelta(days=90)
        assert await sealing.seal(resources.database, key, whole) >= 1
        assert await sealing.seal(resources.database, key, whole) == 0
        answer = await anna.refresh()
        assert answer.status_code == 200
        row = await resources.database.fetchrow(
            "SELECT ends_at - created_at AS life FROM refresh_families WHERE user_id = $1", anna.id
        )
        assert row is not None
        assert row["life"] == whole

    async def test_those_of_this_release_are_left_alone(
        self, anna: Person, boris: Person, resources: Resources
    ) -> None:
        """Whoever signs in before the old sessions are keyed is keyed already."""
        await make_old(resources, anna, but=boris)
        key, whole = partial(sessions.keyed, resources.tokens), timedelta(days=90)
        assert await sealing.seal(resources.database, key, whole) == 1
        assert (await anna.refresh()).status_code == 200
        assert (await boris.refresh()).status_code == 200

    async def test_not_under_another_secret(self, anna: Person, resources: Resources) -> None:
        """Those that were keyed stay dead for a process with another one."""
        await make_old(resources, anna)
        whole = timedelta(days=90)
        await sealing.seal(resources.database, partial(sessions.keyed, resources.tokens), whole)
        resources.tokens = Tokens("another secret of the tests, long enough")
        other = partial(sessions.keyed, resources.tokens)
        assert await sealing.seal(resources.database, other, whole) == 0
        assert is_problem(await anna.refresh(), 401, "dead-refresh-token")


async def make_old(resources: Resources, person: Person, but: Person | None = None) -> None:
    """Leave the person's session, and the database, as the release before left them."""
    kept = [each.id for each in (person, but) if each]
    plain = hashlib.sha256(person.pair["refresh_token"].partition(".")[2].encode()).digest()
    await resources.database.fetch("DELETE FROM refresh_families WHERE user_id <> all($1)", kept)
    await resources.database.fetch(
        "UPDATE refresh_families SET token_sha256 = $2, ends_at = NULL WHERE user_id = $1",
        person.id,
        plain,
    )
    await resources.database.fetch("UPDATE instance SET sessions_keyed_at = NULL")
