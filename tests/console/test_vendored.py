"""What the console ships of others is what it says it is."""

import hashlib
import re

from console.render import STATIC

VENDOR = STATIC / "vendor"
SUMS = {
    line.partition("  ")[2]: line.partition("  ")[0]
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines()
}


def test_every_vendored_file_has_the_hash_that_was_recorded() -> None:
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.iterdir()
        if file.suffix in (".js", ".LICENSE", ".NOTICE")
    }
    assert found == SUMS


def test_every_vendored_script_has_its_version_and_licence_written_down() -> None:
    told = (VENDOR / "README.md").read_text()
    for script in VENDOR.glob("*.js"):
        row = next(line for line in told.splitlines() if script.name in line)
        assert re.search(r"\| \d+\.\d+\.\d+ \|", row), row
        (licence,) = re.findall(r"\((\w+\.LICENSE)", row)
        assert (VENDOR / licence).is_file()


def test_no_page_refers_to_another_host() -> None:
    for template in (STATIC.parent / "templates").glob("*.html"):
        text = template.read_text()
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), template


def test_no_page_has_a_script_or_a_style_in_it() -> None:
    for template in (STATIC.parent / "templates").glob("*.html"):
        text = re.sub(r'<script type="application/json">', "", template.read_text())
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", text), template
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text), template
