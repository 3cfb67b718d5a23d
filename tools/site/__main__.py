"""
C{python -m tools.site API} builds the site into C{build/site/html}, and fails for a warning or a
link that leads nowhere.

Sphinx runs on a copy of the pages; what they link to beside them comes along. C{API} is the
directory that pydoctor has written.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = ROOT / "build" / "site"
SOURCE, HTML = SITE / "source", SITE / "html"

#: The chapters of the site, each with its pages; what else is in docs/ comes last.
CHAPTERS = {
    "Use it": ("docs/guide", "docs/howto/index", "docs/tutorial", "docs/options"),
    "Protocols": (
        "docs/RULES", "docs/FAULTS", "docs/HTTP", "docs/MEASURE", "docs/STAMP", "docs/IPSLA",
        "docs/NTS", "docs/PROTOCOLS",
    ),
    "Operate it": (
        "docs/status-page", "docs/metrics", "docs/events", "docs/DROPS", "docs/SCALING",
        "docs/THREATS", "docs/RELIABILITY", "docs/COMPATIBILITY", "SECURITY",
    ),
    "Work on it": (
        "ARCHITECTURE", "docs/DECISIONS", "docs/MUTATION", "bench/RESULTS", "CONTRIBUTING",
        "CHANGELOG", "reference",
    ),
}  # fmt: skip

REFERENCE = """\
# Manual pages and API

- <a href="man/socketd.1.html">socketd(1)</a>: the command
- <a href="man/socketd.8.html">socketd(8)</a>: the daemon
- <a href="man/socketd.ini.5.html">socketd.ini(5)</a>: the configuration
- <a href="api/index.html">API</a>: every module and class
"""


def main(api: str) -> None:
    """Build the site, and check its links."""
    shutil.rmtree(SITE, ignore_errors=True)
    _copy_pages()
    _write_manual_pages()
    shutil.copytree(api, SOURCE / "extra" / "api")
    shutil.copy(ROOT / "tools" / "site" / "conf.py", SOURCE)
    sphinx = [sys.executable, "-m", "sphinx", "-qnWE", "--keep-going", str(SOURCE), str(HTML)]
    if status := subprocess.run(sphinx).returncode:
        sys.exit(status)
    shutil.copy(HTML / "README.html", HTML / "index.html")
    if broken := sorted(broken_links(HTML)):
        sys.exit("\n".join(["links that lead nowhere:", *broken]))


def _copy_pages() -> None:
    (SOURCE / "bench").mkdir(parents=True)
    for page in (*ROOT.glob("*.md"), ROOT / "bench" / "RESULTS.md"):
        shutil.copy(page, SOURCE / page.relative_to(ROOT))
    for folder in ("docs", "etc"):
        shutil.copytree(ROOT / folder, SOURCE / folder)
    (SOURCE / "reference.md").write_text(REFERENCE)
    trees = [
        f"```{{toctree}}\n:caption: {title}\n:hidden:\n" + "\n".join(pages) + "\n```\n"
        for title, pages in CHAPTERS.items()
    ]
    with (SOURCE / "README.md").open("a") as file:
        file.write("\n" + "\n".join(trees))
    how_to = sorted(page.stem for page in (SOURCE / "docs" / "howto").glob("*.md"))
    with (SOURCE / "docs" / "howto" / "index.md").open("a") as file:
        names = "\n".join(name for name in how_to if name != "index")
        file.write(f"\n```{{toctree}}\n:hidden:\n{names}\n```\n")


def _write_manual_pages() -> None:
    target = SOURCE / "extra" / "man"
    target.mkdir(parents=True)
    for page in (ROOT / "docs" / "man").iterdir():
        with (target / f"{page.name}.html").open("wb") as file:
            subprocess.run(["mandoc", "-T", "html", str(page)], stdout=file, check=True)


class _Links(HTMLParser):
    """Collects where a page links to, and what in it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(html: Path) -> Iterator[str]:
    """List the links within a site that lead nowhere; pydoctor's own pages are its business."""
    pages = {page: _read(page) for page in html.rglob("*.html") if "api" not in page.parts}
    for page, links in pages.items():
        for target in links.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            file = (page.parent / unquote(url.path)).resolve() if url.path else page
            known = pages.get(file)
            if not file.exists() or url.fragment and known and url.fragment not in known.anchors:
                yield f"{page.relative_to(html)}: {target}"


def _read(page: Path) -> _Links:
    links = _Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


if __name__ == "__main__":
    main(*sys.argv[1:])
