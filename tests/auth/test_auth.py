"""Tokens, passwords and remembered tokens, without any server."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY
from hypothesis import example, given
from hypothesis import strategies as st

from atelier.auth import (
    HASHERS,
    HASHERS_BACKLOG,
    MAX_TOKEN_CHARACTERS,
    REMEMBER_SECONDS,
    Authenticator,
    Claims,
    Found,
    Passwords,
    Principal,
    Right,
    Role,
    Tokens,
    key_digest,
    key_id,
)
from atelier.errors import Unauthenticated, Unavailable
from tests.lookups import Everybody, person

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "the-first-secret-of-32-bytes-or-more"
OTHER = "another-secret-of-32-bytes-or-more!!"
NOW = 1_800_000_000
USER, SESSION = 42, "8a6e0804-2bd0-4672-b79d-d97027f9071a"


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


class Sessions(Everybody):
    """Which sessions stand, and how often that was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.ended: set[str] = set()
        self.answering = asyncio.Event()
        self.answering.set()

    async def session(self, claims: Claims) -> Principal | None:
        """The user, if the session of `claims` was open when the question came."""
        self.asked += 1
        found = None if claims.session_id in self.ended else await super().session(claims)
        await self.answering.wait()
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(SECRET, access_seconds=900, now=clock)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAPEST)
    yield made
    made.close()


def claims(**changes: Any) -> dict[str, Any]:
    """A valid payload with changes; None leaves a claim out."""
    valid = {
        "iss": "atelier",
        "aud": "atelier-api",
        "typ": "access",
        "sub": str(USER),
        "sid": SESSION,
        "jti": "1",
        "iat": NOW,
        "exp": NOW + 900,
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def signed(
    payload: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256", **header: Any
) -> str:
    """A token of this payload."""
    return jwt.encode(payload, secret, algorithm, headers={"kid": key_id(SECRET)} | header)


def raw(header: bytes, payload: bytes, signature: bytes = b"") -> str:
    """A token of exactly these bytes."""
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (header, payload, signature)
    )


def test_an_issued_token_names_user_session_and_end(tokens: Tokens) -> None:
    """An issued token verifies and has its user and expiry."""
    found = tokens.verify(tokens.issue(USER, SESSION))
    assert (found.user_id, found.session_id, found.expires) == (USER, SESSION, NOW + 900)


def test_every_token_has_its_own_id(tokens: Tokens) -> None:
    """Two tokens of one moment differ in `jti`."""
    first, second = (tokens.verify(tokens.issue(USER, SESSION)).token_id for _ in range(2))
    assert first != second


def test_header_and_claims_are_those_of_the_contract(tokens: Tokens) -> None:
    """Other services can verify by kid, iss, aud and typ."""
    token = tokens.issue(USER, SESSION)
    assert jwt.get_unverified_header(token) == {
        "alg": "HS256",
        "typ": "JWT",
        "kid": key_id(SECRET),
    }
    payload = jwt.decode(
        token,
        SECRET,
        ["HS256"],
        audience="atelier-api",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert payload == claims(jti=payload["jti"])


REFUSED = {
    "empty": "",
    "no dots": "token",
    "not base64": "ä.ö.ü",
    "two parts": "a.b",
    "alg none": raw(
        json.dumps({"alg": "none", "kid": key_id(SECRET)}).encode(), json.dumps(claims()).encode()
    ),
    "another algorithm": signed(claims(), SECRET * 2, "HS512"),
    "signed with another secret": signed(claims(), OTHER),
    "key id of nobody": signed(claims(), kid="nobody"),
    "no key id": jwt.encode(claims(), SECRET, "HS256"),
    "key id that is a list": raw(b'{"alg":"HS256","kid":["a"]}', b"{}"),
    "header that is a list": raw(b"[]", b"{}"),
    "payload that is a list": raw(
        json.dumps({"alg": "HS256", "kid": key_id(SECRET)}).encode(), b"[]"
    ),
    "deeply nested header": raw(b"[" * 2900, b"{}"),
    "refresh token": f"{SESSION.replace('-', '')}.c2VjcmV0",
    "typ refresh": signed(claims(typ="refresh")),
    "typ missing": signed(claims(typ=None)),
    "other issuer": signed(claims(iss="elsewhere")),
    "issuer missing": signed(claims(iss=None)),
    "other audience": signed(claims(aud="elsewhere")),
    "audience missing": signed(claims(aud=None)),
    "sub missing": signed(claims(sub=None)),
    "sub integer": jwt.PyJWS().encode(
        json.dumps(claims(sub=USER)).encode(), SECRET, headers={"kid": key_id(SECRET)}
    ),
    "sub word": signed(claims(sub="anna")),
    "sub zero": signed(claims(sub="0")),
    "sub negative": signed(claims(sub="-1")),
    "sub with a space": signed(claims(sub=" 1")),
    "sub with leading zero": signed(claims(sub="042")),
    "sub in other digits": signed(claims(sub="٤٢")),
    "sub with newline": signed(claims(sub="42\n")),
    "sub beyond bigint": signed(claims(sub=str(2**63))),
    "session missing": signed(claims(sid=None)),
    "session number": signed(claims(sid=7)),
    "token id missing": signed(claims(jti=None)),
    "issue time missing": signed(claims(iat=None)),
    "end missing": signed(claims(exp=None)),
    "end not a number": signed(claims(exp="tomorrow")),
    "end a float": signed(claims(exp=NOW + 0.5)),
    "end true": signed(claims(exp=True)),
    "just expired": signed(claims(exp=NOW)),
    "long expired": signed(claims(exp=1)),
    "too long": signed(claims(pad="x" * MAX_TOKEN_CHARACTERS)),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_a_token_that_is_not_valid_is_refused(tokens: Tokens, token: str) -> None:
    """Nothing but our own access tokens passes, and the reason is said."""
    with pytest.raises(Unauthenticated) as refused:
        tokens.verify(token)
    assert refused.value.detail


@given(position=st.integers(0, 319), letter=st.sampled_from("AQgw_-9."))
@example(position=0, letter="A")
def test_a_tampered_token_is_refused(position: int, letter: str) -> None:
    """A token with any one letter changed is invalid or still says the same."""
    tokens = Tokens(SECRET, now=Clock())
    token = tokens.issue(USER, SESSION)
    position %= len(token)
    tampered = token[:position] + letter + token[position + 1 :]
    try:
        found = tokens.verify(tampered)
    except Unauthenticated:
        return
    assert found == tokens.verify(token)  # the last letter of base64 has bits that mean nothing


def test_an_unknown_part_of_a_known_token_type_is_allowed(tokens: Tokens) -> None:
    """A later version may add claims."""
    assert tokens.verify(signed(claims(extra=1))).user_id == USER


def test_keys_rotate(clock: Clock) -> None:
    """The first key signs; tokens of the second stay valid until it is removed."""
    old = Tokens({"old": OTHER}, now=clock)
    both = Tokens({"new": SECRET, "old": OTHER}, now=clock)
    new = Tokens({"new": SECRET}, now=clock)
    before, after = old.issue(USER, SESSION), both.issue(USER, SESSION)
    assert (
        both.verify(before).user_id
        == both.verify(after).user_id
        == new.verify(after).user_id
        == USER
    )
    with pytest.raises(Unauthenticated, match="unknown key"):
        new.verify(before)


def test_a_token_cannot_choose_another_key(clock: Clock) -> None:
    """A token signed with one key under the other's id is refused."""
    both = Tokens({"new": SECRET, "old": OTHER}, now=clock)
    with pytest.raises(Unauthenticated):
        both.verify(signed(claims(), OTHER, kid="new"))


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, {}, {"a": SECRET, "b": "short"}])
def test_a_short_secret_is_refused(secret: Any) -> None:
    """Under 32 bytes nothing starts."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(secret)


def test_a_digest_depends_on_secret_purpose_and_data(tokens: Tokens) -> None:
    """It cannot be computed without the secret; each purpose has other digests."""
    digests = {
        tokens.digest("a", b"x"),
        tokens.digest("b", b"x"),
        tokens.digest("a", b"y"),
        Tokens(OTHER).digest("a", b"x"),
    }
    assert len(digests) == 4
    assert tokens.digest("a", b"x") in digests


async def test_a_password_verifies_against_its_hash_alone(passwords: Passwords) -> None:
    """The right password is right, any other and no user are wrong."""
    encoded = await passwords.hash("correct horse")
    assert encoded.startswith("$argon2id$")
    assert "correct" not in encoded
    assert await passwords.verify(encoded, "correct horse")
    assert not await passwords.verify(encoded, "wrong horse")
    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify("not a hash", "correct horse")


async def test_the_default_is_argon2id_with_the_parameters_of_rfc_9106() -> None:
    """64 MiB, three passes, four lanes."""
    passwords = Passwords()
    encoded = await passwords.hash("correct horse")
    passwords.close()
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_composed_and_decomposed_letters_are_one_password(passwords: Passwords) -> None:
    """Keyboards that compose letters differently type the same password."""
    assert await passwords.verify(await passwords.hash("cafe\u0301 au lait"), "caf\u00e9 au lait")


async def test_a_hash_of_other_parameters_is_outdated_but_verifies(passwords: Passwords) -> None:
    """Parameters can be raised without locking anybody out."""
    strong = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY).hash("correct horse")
    assert passwords.outdated(strong)
    assert await passwords.verify(strong, "correct horse")
    assert not passwords.outdated(await passwords.hash("correct horse"))


async def test_an_unknown_user_costs_a_hash(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no hash to verify the same work is done on the password that was sent."""
    worked: list[str] = []
    hasher = PasswordHasher.hash

    def counted(self: PasswordHasher, password: str) -> str:
        worked.append(password)
        return hasher(self, password)

    monkeypatch.setattr(PasswordHasher, "hash", counted)
    assert not await passwords.verify(None, "correct horse")
    assert worked == ["correct horse"]


async def test_a_crowd_is_turned_away_rather_than_queued_without_end(passwords: Passwords) -> None:
    """Beyond the backlog the answer is "try again", and afterwards everything works."""
    crowd = [
        passwords.verify(None, "correct horse", f"192.0.2.{number}")
        for number in range(HASHERS + HASHERS_BACKLOG + 5)
    ]
    answers = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 5
    assert not await passwords.verify(None, "correct horse")


@pytest.fixture
async def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def authenticator(tokens: Tokens, sessions: Sessions, clock: Clock) -> Authenticator:
    return Authenticator(tokens, sessions, capacity=3, now=clock)


def bearer(tokens: Tokens, user_id: int = USER, session_id: str = SESSION) -> str:
    """An Authorization value."""
    return f"Bearer {tokens.issue(user_id, session_id)}"


async def test_a_token_is_checked_once_and_then_remembered(
    authenticator: Authenticator, tokens: Tokens, sessions: Sessions
) -> None:
    """The second request with a token makes no query."""
    value = bearer(tokens)
    assert authenticator.known(value) is None
    for _ in range(2):
        assert await authenticator.authenticate(value) == person(USER, SESSION)
    assert authenticator.known(value) == person(USER, SESSION)
    assert sessions.asked == 1


async def test_a_remembered_token_is_checked_again_after_a_minute(
    authenticator: Authenticator, tokens: Tokens, sessions: Sessions, clock: Clock
) -> None:
    """A revocation elsewhere is seen here within that time."""
    value = bearer(tokens)
    await authenticator.authenticate(value)
    sessions.ended.add(SESSION)
    clock.now += REMEMBER_SECONDS - 1
    assert authenticator.known(value)
    clock.now += 1
    with pytest.raises(Unauthenticated, match="ended"):
        await authenticator.authenticate(value)


async def test_a_remembered_token_does_not_outlive_its_end(
    authenticator: Authenticator, tokens: Tokens, clock: Clock
) -> None:
    """Not even by the minute."""
    value = bearer(tokens)
    clock.now += 890
    await authenticator.authenticate(value)
    clock.now += 10
    assert authenticator.known(value) is None
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticator.authenticate(value)


@pytest.mark.parametrize("dropped", [{"session_id": SESSION}, {"user_id": USER}])
async def test_a_dropped_session_or_user_is_forgotten_and_no_other(
    authenticator: Authenticator, tokens: Tokens, dropped: dict[str, Any]
) -> None:
    """Sign-out takes effect at once, for those who signed out."""
    mine, theirs = bearer(tokens), bearer(tokens, 7, "another")
    await authenticator.authenticate(mine)
    await authenticator.authenticate(theirs)
    authenticator.drop(**dropped)
    assert authenticator.known(mine) is None
    assert authenticator.known(theirs)


async def test_a_session_that_ends_during_its_check_is_not_remembered(
    authenticator: Authenticator, tokens: Tokens, sessions: Sessions
) -> None:
    """The answer that was true when it was asked is used once, not for a minute."""
    value = bearer(tokens)
    sessions.answering.clear()
    checking = asyncio.create_task(authenticator.authenticate(value))
    while not sessions.asked:
        await asyncio.sleep(0)
    authenticator.drop(session_id=SESSION)
    sessions.answering.set()
    await checking
    assert authenticator.known(value) is None


async def test_memory_is_bounded(authenticator: Authenticator, tokens: Tokens) -> None:
    """Beyond the capacity the token verified longest ago makes room."""
    values = [bearer(tokens) for _ in range(4)]
    for value in values:
        await authenticator.authenticate(value)
    assert [authenticator.known(value) is not None for value in values] == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_case_insensitive(
    authenticator: Authenticator, tokens: Tokens, scheme: str
) -> None:
    """As HTTP says of every scheme."""
    assert await authenticator.authenticate(f"{scheme} {tokens.issue(USER, SESSION)}")


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic YTpi", "token", "Bearer a b", "Bearerabc"]
)
async def test_any_other_authorization_is_refused_without_asking(
    authenticator: Authenticator, sessions: Sessions, value: str | None
) -> None:
    """The database hears only of tokens whose signature is ours."""
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(value)
    assert sessions.asked == 0


async def test_what_is_added_to_a_header_takes_no_memory(
    authenticator: Authenticator, tokens: Tokens, sessions: Sessions
) -> None:
    """A token with blanks around it is the same token, and is remembered once."""
    value = bearer(tokens)
    padded = [value.replace(" ", " " * blanks) + " " * blanks for blanks in (1, 100, 7_000)]
    for each in padded:
        await authenticator.authenticate(each)
    assert sessions.asked == 1
    assert len(authenticator._seen) == 1
    assert all(len(digest) == 16 for digest in authenticator._seen)


KEY = "atk_" + "k" * 43
ROBOT = Principal(
    USER,
    "key.7",
    key_id=7,
    rights=frozenset({Right.IMAGES_READ}),
    roles={USER: Role.OWNER},
)


async def test_a_key_is_a_bearer_token(authenticator: Authenticator, sessions: Sessions) -> None:
    """It is looked up by its digest, remembered like a token, and forgotten when revoked."""
    sessions.keys[key_digest(KEY)] = ROBOT
    assert await authenticator.authenticate(f"Bearer {KEY}") == ROBOT
    assert authenticator.known(f"bearer {KEY} ") == ROBOT
    sessions.keys.clear()
    authenticator.drop(session_id="key.7")
    with pytest.raises(Unauthenticated, match="key"):
        await authenticator.authenticate(f"Bearer {KEY}")


async def test_a_key_is_remembered_until_it_ends(tokens: Tokens, clock: Clock) -> None:
    """Its own end counts, not the minute."""

    class Ending(Everybody):
        async def key(self, _digest: bytes) -> Found | None:
            return (ROBOT, NOW + 5) if clock.now < NOW + 5 else None

    authenticator = Authenticator(tokens, Ending(), now=clock)
    await authenticator.authenticate(f"Bearer {KEY}")
    clock.now += 5
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(f"Bearer {KEY}")


async def test_reserved_rights_are_withheld_from_all_but_administrators(
    tokens: Tokens, sessions: Sessions, clock: Clock
) -> None:
    """By token, cookie and key, also while they are remembered."""
    reserved = frozenset({Right.BOOKS_WRITE})
    authenticator = Authenticator(tokens, sessions, reserved=reserved, now=clock)
    sessions.keys[key_digest(KEY)] = ROBOT
    value = bearer(tokens)
    for credential in (value, f"Bearer {KEY}"):
        assert (await authenticator.authenticate(credential)).withheld == reserved
        assert (known := authenticator.known(credential))
        assert known.withheld == reserved
    authenticator.clear()
    sessions.keys[key_digest(KEY)] = replace(ROBOT, administrator=True)
    assert (await authenticator.authenticate(f"Bearer {KEY}")).withheld == frozenset()


async def test_a_cookie_is_no_bearer_token(
    authenticator: Authenticator, tokens: Tokens, sessions: Sessions
) -> None:
    """A cookie opens nothing in the header, nor does a token as cookie."""
    family = uuid.uuid4()
    sessions.cookies[tokens.digest("cookie", b"secret")] = person(USER, str(family))
    cookie = f"{family.hex}.secret"
    assert await authenticator.authenticate_cookie(cookie) == person(USER, str(family))
    assert authenticator.known_cookie(cookie) == person(USER, str(family))
    assert authenticator.known(f"Bearer {cookie}") is None
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(f"Bearer {cookie}")
    value = bearer(tokens)
    await authenticator.authenticate(value)
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate_cookie(value.removeprefix("Bearer "))


async def test_a_cookie_of_another_secret_is_refused(
    tokens: Tokens, sessions: Sessions, clock: Clock
) -> None:
    """A new secret of ours ends every browser's session."""
    family = uuid.uuid4()
    sessions.cookies[tokens.digest("cookie", b"secret")] = person(USER, str(family))
    anew = Authenticator(Tokens(OTHER, now=clock), sessions, now=clock)
    with pytest.raises(Unauthenticated):
        await anew.authenticate_cookie(f"{family.hex}.secret")
