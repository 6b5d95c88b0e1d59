"""The page of a function over HTTP: its form runs it, and the curl beside it does the same."""

import hashlib
import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.function import Paragraph, paragraphs
from tests.support import NodeFactory, RunningNode, eventually

FUNCTIONS = Path(__file__).parent / "form_functions"
HTML = {"Accept": "text/html"}
MAX_BODY = 2_000_000
LONG = "a_function_whose_name_has_as_many_as_sixty_two_characters_in_it"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256)) * 2


@pytest.fixture(scope="module")
def node(start_node: NodeFactory) -> Iterator[RunningNode]:
    node = start_node(FUNCTIONS, LUMBRE_MAX_BODY=str(MAX_BODY), LUMBRE_SIMULATE_GPU="1")
    yield node
    assert "Traceback" not in re.sub(r"broken\.py.*", "", node.log.read_text())


@pytest.fixture
def client(node: RunningNode) -> httpx.Client:
    return node.client


def run(client: httpx.Client, function: str, files: Any = None, **typed: str) -> httpx.Response:
    """Post a function's form; `value__n` is the input `value.n`."""
    texts = {name.replace("__", "."): text for name, text in typed.items()}
    sent = [(name, (None, text.encode())) for name, text in {"action": "run", **texts}.items()]
    answer = client.post(f"/functions/{function}/run", files=[*sent, *(files or [])], headers=HTML)
    assert answer.status_code < 500, answer.text
    return answer


def ids(answer: httpx.Response) -> list[str]:
    """The invocations that a form has started."""
    assert answer.status_code == 303, answer.text
    url = httpx.URL(answer.headers["location"])
    assert url.path.startswith("/functions/")
    return (url.params.get("ran") or url.params["ids"]).split(",")


def result(client: httpx.Client, id: str) -> Any:
    answer = client.get(f"/invocations/{id}/result", headers={"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def page(client: httpx.Client, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def command(text: str) -> str:
    """The curl of a page."""
    found = re.search(r"The same with curl</h3>.*?<code>(.*?)</code>", text, re.DOTALL)
    assert found
    return html.unescape(found.group(1))


def shell(text: str, folder: Path) -> bytes:
    """What a command prints."""
    done = subprocess.run(["sh", "-c", text], cwd=folder, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def faults(text: str) -> dict[str, str]:
    """Faults at fields, by the number of the field."""
    found = re.findall(r'class="fault" id="field-(\d+)-fault">(.*?)</span>', text)
    return {number: html.unescape(fault) for number, fault in found}


def test_a_form_runs_its_function_and_leads_to_the_result(client: httpx.Client) -> None:
    answer = run(
        client,
        "say",
        value__count="3",
        value__text="a\r\nb & <c>",
        value__size='"large"',
        json__limit="null",
        json__place='{"x": 1.5}',
    )
    (id,) = ids(answer)
    assert result(client, id) == {
        "count": 3,
        "text": "a\nb & <c>",
        "loud": False,  # its checkbox was not sent
        "limit": None,
        "size": "large",
        "place": {"x": 1.5, "y": 0.0},
        "numbers": None,
    }
    shown = page(client, f"/functions/say?ran={id}")
    assert "is-succeeded" in shown
    assert "data-over" in shown
    assert "Where the time went" in shown


def test_what_is_as_it_would_be_anyway_is_not_in_the_input(client: httpx.Client) -> None:
    typed = {"value__count": "3", "value__text": "hello", "value__loud": "on", "json__limit": "7"}
    (id,) = ids(run(client, "say", **typed))
    assert client.get(f"/invocations/{id}").json()["input"]["parameters"] == {"count": 3}


def test_faulty_input_gives_the_form_again_with_faults_at_its_fields(client: httpx.Client) -> None:
    before = client.get("/audit").json()["accepted"]
    answer = run(
        client,
        "say",
        value__count="1000",
        value__text="kept & <safe>",
        json__limit="{",
        json__place='{"y": 1}',
        device="cpu",
    )
    assert answer.status_code == 422
    told = faults(answer.text)
    assert "100" in told["1"]
    assert "is no JSON" in told["4"]
    assert "required" in told["6"]
    assert "kept &amp; &lt;safe&gt;" in answer.text
    assert 'value="1000"' in answer.text
    assert re.search(r'value="cpu" checked', answer.text)
    assert 'hx-get="/functions/say"' in answer.text  # where what is live is asked for
    assert client.get("/audit").json()["accepted"] == before


def test_a_number_that_is_needed_is_missing_where_it_is_empty(client: httpx.Client) -> None:
    answer = run(client, "say", value__count="", json__limit="7")
    assert answer.status_code == 422
    assert faults(answer.text) == {"1": "count is missing"}


def test_an_upload_goes_through_the_form(client: httpx.Client) -> None:
    large = b"\x89PNG" + bytes(range(256)) * 4000  # larger than what travels in a message
    answer = run(
        client,
        "digest",
        [("file.first", ("cat.png", large, "image/png")), ("file.second", ("", b""))],
        value__text="a text, and a file",
    )
    (id,) = ids(answer)
    assert result(client, id) == {
        "files": [hashlib.sha256(large).hexdigest(), None],
        "text": "a text, and a file",
        "word": "",
    }


def test_an_upload_that_is_missing_is_told_at_its_field(client: httpx.Client) -> None:
    answer = run(client, "digest", [("file.first", ("", b""))], value__text="kept")
    assert answer.status_code == 422
    assert "is missing: upload it" in faults(answer.text)["1"]
    assert ">\nkept</textarea>" in answer.text


def test_an_earlier_upload_can_be_sent_again_with_other_parameters(client: httpx.Client) -> None:
    (id,) = ids(run(client, "digest", [("file.first", ("a.png", PNG, "image/png"))]))
    form = page(client, f"/functions/digest?from={id}")
    assert f'name="kept.first" value="{id}" checked' in form
    (again,) = ids(run(client, "digest", kept__first=id, value__text="again"))
    assert result(client, again)["files"][0] == hashlib.sha256(PNG).hexdigest()
    assert result(client, again)["text"] == "again"


def test_an_upload_of_another_function_is_not_taken(client: httpx.Client) -> None:
    (id,) = ids(run(client, "mirror", [("file.data", ("a", PNG))]))
    answer = run(client, "digest", kept__first=id)
    assert answer.status_code == 422
    assert "no longer kept" in faults(answer.text)["1"]


def test_a_form_that_is_too_large_is_refused_in_words(client: httpx.Client) -> None:
    answer = run(client, "mirror", [("file.data", ("a", bytes(MAX_BODY + 1000)))])
    assert answer.status_code == 413
    assert "the limit is 2,000,000" in answer.text


def test_run_on_both_starts_the_same_input_on_each_device(client: httpx.Client) -> None:
    upload = [("file.first", ("a.png", PNG, "image/png"))]
    started = ids(run(client, "digest", upload, action="both", value__text="x"))
    assert len(started) == 2
    records = [client.get(f"/invocations/{id}").json() for id in started]
    assert [record["device"] for record in records] == ["cpu", "gpu"]
    assert len({record["input"]["parameters"]["text"] for record in records}) == 1
    assert len({str(result(client, id)) for id in started}) == 1
    shown = eventually(lambda: _together(client, started))
    assert shown.count("Where the time went") == 2
    assert "simulated" in shown
    assert "The same on both, to within a thousandth: files, text, word." in shown
    assert "device=compare" in command(shown)


def _together(client: httpx.Client, started: list[str]) -> str:
    shown = page(client, f"/functions/digest?ids={','.join(started)}")
    return shown if "as fast as the" in shown else ""


def test_a_form_does_not_wait_for_what_takes_long(client: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (id,) = ids(run(client, "hold", value__gate=str(gate)))
    path = f"/functions/hold?ran={id}"
    shown = eventually(lambda: page(client, path) if "is-running" in page(client, path) else "")
    assert "data-over" not in shown
    gate.touch()
    assert result(client, id) == "done"
    assert "data-over" in page(client, path)


def test_the_page_of_a_result_has_its_form_filled(client: httpx.Client) -> None:
    (id,) = ids(run(client, "say", value__count="5", value__text="same\nagain", json__limit="7"))
    shown = page(client, f"/functions/say?ran={id}")
    assert 'value="5"' in shown
    assert ">\nsame\nagain</textarea>" in shown
    assert not re.search(r'name="value.loud"[^>]*checked', shown)
    assert "Where the time went" not in page(client, f"/functions/say?from={id}")


def test_an_invocation_of_another_function_is_not_shown(client: httpx.Client) -> None:
    (id,) = ids(run(client, "say", value__count="1", json__limit="7"))
    answer = client.get(f"/functions/digest?ran={id}", headers=HTML)
    assert answer.status_code == 404


# Whatever can be a text of JSON, and what a shell and curl would make something else of.
NASTY = ["it's", '"', "$HOME `id` \\", "@/etc/passwd", "<x", "a;type=text/plain", "%41+&=", "é\n\t"]


@pytest.mark.parametrize("text", NASTY)
def test_the_equal_curl_does_the_same(client: httpx.Client, text: str, tmp_path: Path) -> None:
    (id,) = ids(run(client, "say", value__count="2", json__text=_json(text), json__limit="7"))
    shown = page(client, f"/functions/say?ran={id}")
    printed = shell(command(shown).replace("curl ", "curl -sS ", 1), tmp_path)
    assert httpx.Response(200, content=printed).json() == result(client, id)


@pytest.mark.parametrize("text", NASTY)
def test_the_equal_curl_uploads_files(client: httpx.Client, text: str, tmp_path: Path) -> None:
    files = [
        ("file.first", ("cat.png", PNG, "image/png")),
        ("file.second", ("x", PNG[::-1], "application/octet-stream")),
    ]
    typed = {"json__text": _json(text), "json__word": _json(text)}
    (id,) = ids(run(client, "digest", files, **typed))
    shown = command(page(client, f"/functions/digest?ran={id}"))
    assert "-F first=@first.png" in shown
    (tmp_path / "first.png").write_bytes(PNG)
    (tmp_path / "second.bin").write_bytes(PNG[::-1])
    printed = shell(shown.replace("curl ", "curl -sS ", 1), tmp_path)
    assert httpx.Response(200, content=printed).json() == result(client, id)


def test_the_equal_curl_keeps_bytes_in_a_file(client: httpx.Client, tmp_path: Path) -> None:
    (id,) = ids(run(client, "mirror", [("file.data", ("x", PNG))]))
    client.get(f"/invocations/{id}/result", headers={"Prefer": "wait=20"})
    shown = command(page(client, f"/functions/mirror?ran={id}"))
    (tmp_path / "data.bin").write_bytes(PNG)
    shell(shown.replace("curl ", "curl -sS ", 1), tmp_path)
    assert (tmp_path / "mirror-result.png").read_bytes() == PNG[::-1]


def test_the_curl_of_a_new_form_is_one_that_works(client: httpx.Client, tmp_path: Path) -> None:
    printed = shell(
        command(page(client, "/functions/say")).replace("curl ", "curl -sS ", 1), tmp_path
    )
    assert httpx.Response(200, content=printed).json()["count"] == 1


@pytest.mark.parametrize("name", ["say", "digest", "mirror", "hold", LONG])
def test_each_live_region_is_answered_alone(client: httpx.Client, name: str) -> None:
    headers = {**HTML, "HX-Request": "true", "HX-Request-Type": "partial"}
    for block in ("live", "ran"):
        answer = client.get(f"/functions/{name}", headers=headers | {"HX-Target": f"div#{block}"})
        assert answer.status_code == 200
        assert answer.text.lstrip().startswith(f'<div id="{block}"')
        assert "<form" not in answer.text.partition('id="banner"')[0]


def test_a_device_that_is_not_there_says_why(client: httpx.Client) -> None:
    shown = page(client, "/functions/say")
    assert re.search(r'value="gpu" disabled', shown)
    assert "say runs on the CPU only" in shown
    assert "Run on both" not in shown


def test_a_device_that_is_not_there_is_refused_with_the_form_kept(client: httpx.Client) -> None:
    answer = run(client, "say", value__count="4", json__limit="7", device="gpu")
    assert answer.status_code == 422
    assert "runs on cpu only" in answer.text
    assert 'value="4"' in answer.text


def test_the_page_tells_what_the_function_is(client: httpx.Client) -> None:
    shown = html.unescape(page(client, "/functions/say"))
    for words in ("Say what came.", "Nothing else happens.", "<code>code(1)</code>", "fields.py"):
        assert words in shown
    assert "whole number from 1 to 100" in shown
    assert "kind: ScaledObject" in shown
    assert "It rests at zero" in shown


def test_a_broken_file_has_a_page_that_says_why(client: httpx.Client) -> None:
    shown = page(client, "/functions/broken")
    assert "no &lt;b&gt;such&lt;/b&gt; thing" in shown
    assert "<textarea" not in shown and "/run" not in shown


def test_a_function_there_is_not_is_a_404(client: httpx.Client) -> None:
    assert client.get("/functions/nothing", headers=HTML).status_code == 404
    assert client.post("/functions/nothing/run", headers=HTML).status_code == 404


def test_another_site_cannot_run_anything(client: httpx.Client) -> None:
    headers = {**HTML, "Origin": "https://evil.example"}
    files = [("value.count", (None, b"1"))]
    answer = client.post("/functions/say/run", files=files, headers=headers)
    assert answer.status_code == 403


def test_a_program_gets_json(client: httpx.Client) -> None:
    assert client.get("/functions/say").json()["name"] == "say"
    assert client.get("/functions/say.json", headers=HTML).json()["name"] == "say"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300), st.sampled_from(["multipart/form-data; boundary=x", "a/b", ""]))
def test_no_body_breaks_the_form(client: httpx.Client, body: bytes, kind: str) -> None:
    headers = {**HTML, "Content-Type": kind}
    answer = client.post("/functions/say/run", content=body, headers=headers)
    assert answer.status_code in (400, 422)


def test_a_docstring_has_paragraphs_lists_and_code() -> None:
    text = "First.\n\nOne\nline.\n\n    code\n      more\n\n- a\n- b\n  goes on"
    assert paragraphs(text) == [
        Paragraph("One line."),
        Paragraph("code\n  more", code=True),
        Paragraph("- a\n- b goes on"),
    ]


def _json(text: str) -> str:
    return httpx.Request("POST", "http://x", json=text).content.decode()
