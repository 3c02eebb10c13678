"""Gives MkDocs the pages that are made from the code, their places in the menu, and drawings for written pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from ravine.handbook.book import Book

ROOT = Path(__file__).parent.parent
SHIM = 'src="https://unpkg.com/iframe-worker/shim"'  # what the plugin "offline" puts into each page


def on_config(config: Any) -> Any:
    """Make the pages and complete the menu: a heading without pages there gets its own from the book."""
    data = Path(config.docs_dir) / "data"
    config.extra["book"] = book = Book.make(data / "costs.json", data / "lab")
    menu = book.menu()
    config.nav = [{each: menu[each]} if isinstance(each, str) else each for each in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the changelog."""
    pages = {**config.extra["book"].pages(), "changelog.md": (ROOT / "CHANGELOG.md").read_text()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Put a drawing where a written page asks for one."""
    return config.extra["book"].illustrated(markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Search in pages opened as files by our own script in place of one from the network."""
    return _without_network(output, "../" * page.url.count("/"))


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for the page of what is not found."""
    return _without_network(output_content, "")


def _without_network(html: str, to_root: str) -> str:
    return html.replace(SHIM, f'src="{to_root}assets/search-offline.js"')
