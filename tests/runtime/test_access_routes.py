"""Where a browser is led that may not come in; signing in is in gateway/test_keys.py."""

from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Scope

from runtime.access_routes import own_path, refused
from runtime.errors import Forbidden, Unauthorized
from runtime.query import Headers

HERE = "http://lumbre.test:8080"
PAGE: Headers = {b"accept": b"text/html,application/xhtml+xml"}
NONE = Unauthorized("this needs an API key")


def scope(path: str, query: str = "", method: str = "GET") -> Scope:
    return {"type": "http", "method": method, "path": path, "query_string": query.encode()}


@given(text=st.text() | st.text("/\\.:@ \t\nab%?#").map(lambda text: f"/{text}"))
@example("//evil.test/")
@example("/\\evil.test")
@example("/\t/evil.test")
@example("https://evil.test")
@example("/functions?next=//evil.test")
def test_a_sign_in_never_leads_to_another_site(text: str) -> None:
    path = own_path(text)
    assert path.startswith("/")
    told = path.replace("\\", "/").replace("\t", "").replace("\n", "")
    assert urlsplit(urljoin(HERE + "/signin", told)).netloc == urlsplit(HERE).netloc


@given(path=st.from_regex(r"/[!-\[\]-~]{0,30}", fullmatch=True))
def test_a_path_of_this_site_stays_as_it_is(path: str) -> None:
    assert own_path(path) == (path if not path.startswith("//") else "/")


def test_a_page_is_led_to_the_sign_in_and_back() -> None:
    answer = refused(NONE, scope("/functions/a b", "range=1h&x=%26"), PAGE, pages=True)
    assert answer.status_code == 303
    where = urlsplit(answer.headers["Location"])
    assert where.path == "/signin"
    assert parse_qs(where.query) == {"next": ["/functions/a%20b?range=1h&x=%26"]}
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_form_is_led_to_the_sign_in_and_not_back_to_where_it_was_sent() -> None:
    answer = refused(NONE, scope("/benchmarks", method="POST"), PAGE, pages=True)
    assert answer.headers["Location"] == "/signin?next=%2F"


def test_a_part_of_a_page_has_the_whole_of_it_led_there() -> None:
    asked: Headers = {
        **PAGE,
        b"hx-request": b"true",
        b"hx-current-url": f"{HERE}/replicas?every=2".encode(),
    }
    answer = refused(NONE, scope("/replicas"), asked, pages=True)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/signin?next=%2Freplicas%3Fevery%3D2"


@pytest.mark.parametrize("headers", [{}, {b"accept": b"*/*"}, {b"accept": b"application/json"}])
def test_a_program_gets_a_problem_that_says_what_to_do(headers: Headers) -> None:
    answer = refused(NONE, scope("/functions"), headers, pages=True)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.media_type == "application/problem+json"


def test_without_a_console_a_browser_gets_a_problem_too() -> None:
    assert refused(NONE, scope("/functions"), PAGE, pages=False).status_code == 401
    assert refused(Forbidden("no"), scope("/functions"), PAGE, pages=True).status_code == 403
