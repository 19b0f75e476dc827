"""docs/ as a site: built without a network, every page in its contents, every link leads somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

pytest.importorskip("mkdocs", reason="needs mkdocs-material (pip install 'llamatune[docs]')")


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_there_and_fetches_nothing(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= {page.relative_to(site) for page in site.rglob("*.html")}
    fetched = re.compile(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//")
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text("utf-8")), page


def test_links_out_of_docs_become_paths(site: Path) -> None:
    text = (site / "benchmarks.html").read_text("utf-8")
    assert "<code>benchmarks/results</code>" in text and "../benchmarks/results" not in text


@pytest.mark.parametrize(
    ("added", "said"),
    [("[there](nowhere.md)", "nowhere.md"), ("[there](runs.md#no-such-part)", "no-such-part")],
)
def test_a_dead_link_fails(added: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("docs", "mkdocs.yml", "scripts/docs_site.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs/runs.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{added}\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0 and said in built.stderr + built.stdout
