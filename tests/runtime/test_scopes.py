"""What each request needs: the table, and that nothing is open by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.devices import find_machine
from runtime.ledger import Ledger
from runtime.node import Node
from runtime.scopes import OPEN_PATHS, STATIC, Need, Needs, Scope
from runtime.settings import read_settings
from tests.places import SqlitePlace

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")

# Every route of the API, and who may use it; `+` makes invocations, which a key's rate counts.
ROUTES = {
    "GET /": "read",
    "GET /audit": "read",
    "POST /audit/repair": "admin",
    "GET /batches": "read",
    "POST /batches": "invoke +",
    "GET /batches/{id}": "invoke read",
    "DELETE /batches/{id}": "invoke",
    "GET /batches/{id}/results": "invoke read",
    "GET /dead-letters": "read",
    "POST /dead-letters/replay": "admin",
    "POST /dead-letters/discard": "admin",
    "DELETE /dead-letters/{id:letter}": "admin",
    "POST /dead-letters/{id}/replay": "admin",
    "GET /decisions": "read",
    "GET /functions": "read",
    "GET /functions/{name}": "read",
    "GET /healthz": "",
    "GET /invocations": "read",
    "GET /invocations/{id}": "invoke read",
    "PUT /invocations/{id}": "invoke +",
    "DELETE /invocations/{id}": "invoke",
    "GET /invocations/{id}/blobs/{name}": "invoke read",
    "GET /invocations/{id}/events": "invoke read",
    "GET /invocations/{id}/logs": "invoke read",
    "POST /invocations/{id}/replay": "invoke +",
    "GET /invocations/{id}/result": "invoke read",
    "GET /metrics": "read",
    "GET /openapi.json": "read",
    "GET /readyz": "",
    "POST /signin": "",
    "POST /signout": "",
}


def told(need: Need) -> str:
    return " ".join([*sorted(need.scopes), *(["+"] if need.counts else [])])


async def test_every_route_of_a_gateway_needs_what_the_table_says(
    sqlite_place: SqlitePlace,
) -> None:
    settings = read_settings({"state": sqlite_place.path.parent, "ledger_url": sqlite_place.url})
    ledger = await Ledger.open(settings.ledger)
    node = Node(settings, find_machine(settings), ledger)
    needs = Needs()
    found = {}
    for route in node.gateway._routes:
        for method in (route.methods or set()) - {"HEAD"}:
            path = route.path.replace("{id:letter}", "some-id")
            path = path.replace("{id}", "some-id").replace("{name}", "some-name")
            found[f"{method} {route.path}"] = told(needs.of(method, path))
    await ledger.close()
    assert found == ROUTES
    assert told(needs.of("POST", "/invoke/matmul")) == "invoke +"


@given(method=st.sampled_from(METHODS), path=st.text().map(lambda rest: f"/{rest}"))
def test_nothing_is_open_that_the_table_does_not_name(method: str, path: str) -> None:
    need = Needs().of(method, path)
    assert need.open == (path in OPEN_PATHS or path.startswith(STATIC))
    if method not in ("GET", "HEAD") and not need.open:
        assert need.changes
        assert Scope.READ not in need.scopes


@given(path=st.sampled_from(sorted(OPEN_PATHS)), more=st.text(min_size=1))
def test_what_only_looks_like_an_open_path_is_not_open(path: str, more: str) -> None:
    assert not Needs().of("GET", path + more).open
    assert not Needs().of("GET", more + path).open or (more + path).startswith(STATIC)


def test_the_actions_of_a_console_need_what_they_say_and_others_stay_as_they_are() -> None:
    needs = Needs()
    needs.add("POST", "/functions/{name}/run", Scope.INVOKE, counts=True)
    needs.add("POST", "/queues/{id:path}/look", "read")
    assert told(needs.of("POST", "/functions/matmul/run")) == "invoke +"
    assert needs.of("POST", "/functions/matmul/run").changes
    assert not needs.of("POST", "/queues/x/look").changes
    for other in ("/functions/a/b/run", "/functions/matmul/run/more", "/functions/matmul"):
        assert told(needs.of("POST", other)) == "admin"
    assert told(needs.of("DELETE", "/functions/matmul/run")) == "admin"
    assert told(Needs().of("POST", "/functions/matmul/run")) == "admin"


def test_an_action_without_a_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a scope"):
        Needs().add("POST", "/open")
