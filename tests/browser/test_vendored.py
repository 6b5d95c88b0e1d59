"""What these tests use of others is what it says it is."""

import hashlib

from tests.browser.opened import HERE


def test_every_vendored_file_has_the_hash_that_was_recorded() -> None:
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    recorded = {line.partition("  ")[2]: line.partition("  ")[0] for line in lines}
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in HERE.glob("axe.*")
    }
    assert found == recorded


def test_its_version_and_licence_are_written_down() -> None:
    head = (HERE / "axe.min.js").read_text()[:40]
    version = head.partition("axe v")[2].split()[0]
    assert f"| {version} | MPL-2.0" in (HERE / "README.md").read_text()
