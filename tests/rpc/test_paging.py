"""Page sizes and tokens by AIP-158."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.errors import Invalid
from atelier.rpc.paging import page_size, page_token, read_token

IDS = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 50), (1, 1), (50, 50), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_sizes_are_coerced(asked: int, given: int) -> None:
    """Nothing means the default, too much means the most that is given."""
    assert page_size(asked) == given


@pytest.mark.parametrize("asked", [-1, -(2**31)])
def test_negative_sizes_are_refused(asked: int) -> None:
    """Less than nothing is an error that names the field."""
    with pytest.raises(Invalid) as refused:
        page_size(asked)
    assert refused.value.errors[0]["loc"] == ["page_size"]


@given(IDS, st.lists(st.text(), max_size=3))
def test_a_token_leads_back_to_its_page_and_query(before: int, query: list[str]) -> None:
    """A token gives back its position, for the same query and no other."""
    token = page_token(before, *query)
    assert read_token(token, *query) == before
    with pytest.raises(Invalid):
        read_token(token, *query, "more")


@given(st.text(min_size=1))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """Rubbish is an Invalid that names the field, whatever it is."""
    with pytest.raises(Invalid) as refused:
        read_token(text, "List")
    assert refused.value.errors[0]["loc"] == ["page_token"]


def test_no_token_is_the_first_page() -> None:
    """An empty token begins at the beginning."""
    assert read_token("", "List") is None
