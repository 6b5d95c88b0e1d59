"""What a page offers to whom."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from console.sources import Sources
from console.visitor import Visitor, visitor_of
from runtime.access import Identity
from runtime.scopes import Scope

CHANGING = ("invoke", "admin")


def visitor(*scopes: Scope, enabled: bool = True, read_only: bool = False) -> Visitor:
    """Who has a key of these scopes, or none where there are none."""
    who = Identity("3kq7wz2a", "laptop", frozenset(scopes), "session") if scopes else None
    parts = SimpleNamespace(
        access=SimpleNamespace(enabled=enabled, who=lambda headers: who),
        settings=SimpleNamespace(read_only=read_only),
    )
    request = Request({"type": "http", "headers": []})
    return visitor_of(request, cast(Sources, cast(Any, parts)))


def test_where_no_key_is_asked_for_everybody_may_everything() -> None:
    anybody = visitor(enabled=False)
    assert anybody.name is None and anybody.known
    assert all(anybody.may(scope) and anybody.barred("It", scope) is None for scope in CHANGING)


def test_a_key_may_what_its_scopes_say_and_admin_is_all_of_them() -> None:
    assert [visitor(Scope.READ, Scope.INVOKE).may(scope) for scope in CHANGING] == [True, False]
    assert [visitor(Scope.ADMIN).may(scope) for scope in CHANGING] == [True, True]


def test_what_is_missing_is_named_with_whose_key_it_is() -> None:
    told = visitor(Scope.INVOKE, Scope.READ).barred("Replaying", "admin")
    assert told == "Replaying needs the scope admin, and the API key laptop has invoke, read."


@pytest.mark.parametrize("scope", CHANGING)
def test_who_has_not_signed_in_may_nothing(scope: str) -> None:
    nobody = visitor()
    assert not nobody.may(scope) and not nobody.known
    assert scope in (nobody.barred("It", scope) or "")


@pytest.mark.parametrize("enabled", [True, False])
def test_where_everything_is_only_shown_not_even_admin_may_change_it(enabled: bool) -> None:
    somebody = visitor(Scope.ADMIN, enabled=enabled, read_only=True)
    assert not somebody.may("invoke")
    assert "--read-only" in (somebody.barred("It", "admin") or "")
