"""Which commit a page names: its own, or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from companion import provenance


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.email=a@b", "-c", "user.name=a"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    root = tmp_path / "it's a & b"
    root.mkdir()
    git(root, "init", "-q")
    (root / "a.py").write_text("a = 1\n")
    git(root, "add", "a.py")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_a_clean_checkout_is_its_commit(repository) -> None:
    found = provenance.state(repository)
    assert len(found.commit) == 12
    assert str(found) == provenance.commit(repository) == found.commit


def test_a_changed_file_and_an_imported_one_that_git_does_not_know_are_told(
    repository, monkeypatch
) -> None:
    (repository / "a.py").write_text("a = 2\n")
    assert str(provenance.state(repository)).endswith(" + changes")
    git(repository, "checkout", "a.py")
    for name in ("new_module", "never_imported"):
        (repository / f"{name}.py").write_text("b = 1\n")
    monkeypatch.syspath_prepend(str(repository))
    __import__("new_module")
    try:
        assert str(provenance.state(repository)).endswith(" + changes, not in git: new_module.py")
    finally:
        del sys.modules["new_module"]


def test_a_folder_inside_another_repository_has_no_commit(repository, monkeypatch) -> None:
    inner = repository / "book"
    inner.mkdir()
    assert str(provenance.state(inner)) == "unknown: no repository"
    assert provenance.commit(inner) == "unknown"
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))  # as a hook sets it
    assert provenance.commit(inner) == "unknown"


def test_what_git_says_of_an_owner_that_it_does_not_trust_is_passed_on(monkeypatch) -> None:
    fault = "fatal: detected dubious ownership in repository at '/x'\nTo add an exception"

    def refuse(*_words: object) -> str:
        raise OSError(fault)

    monkeypatch.setattr(provenance, "_git", refuse)
    assert str(provenance.state(Path("/x"))).startswith("unknown: git does not trust the owner")


def test_where_the_commit_must_be_known_a_build_without_it_is_refused(
    tmp_path, repository, monkeypatch
) -> None:
    provenance.require_commit(tmp_path)
    monkeypatch.setenv("REQUIRE_COMMIT", "1")
    provenance.require_commit(repository)
    with pytest.raises(ValueError, match="unknown: no repository, and REQUIRE_COMMIT is set"):
        provenance.require_commit(tmp_path)


def test_a_command_stands_whole_in_a_cell_of_a_table() -> None:
    assert provenance.code_span("x=`a` | b") == "`` x=`a` \\| b ``"
