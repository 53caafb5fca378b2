"""Open the built pages in a browser, as wide as a desk and as narrow as a phone."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=20000",
]
PAGES = (
    "index.html",
    "howto/models/index.html",
    "tutorial/index.html",
    "reference/engine/index.html",
)
WIDTHS = (1280, 390)

# Frames of each width hold each page; what they show is written where --dump-dom finds it.
PROBE = """<!doctype html><title>probe</title><pre id="found"></pre><script>
const asked = %s, found = [];
function look(frame, page, width) {
  const inside = frame.contentDocument, article = inside.querySelector("article");
  found.push({
    page, width,
    scroll: inside.documentElement.scrollWidth,
    title: inside.querySelector("h1") ? inside.querySelector("h1").offsetHeight : 0,
    fences: article ? article.innerText.includes("```") : true,
    broken: [...inside.images].filter(i => !(i.complete && i.naturalWidth)).length,
    code: inside.querySelectorAll("article pre").length,
  });
  document.getElementById("found").textContent = JSON.stringify(found);
}
for (const [page, width] of asked) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "height:900px;border:0;width:" + width + "px";
  frame.onload = () => setTimeout(() => look(frame, page, width), 1500);
  frame.src = page;
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@pytest.fixture
def address(site: Path, tmp_path: Path) -> Iterator[str]:
    """Serve the site, and beside it the page that looks at it."""
    (tmp_path / "web").symlink_to(site)
    asked = [[f"web/{page}", width] for page in PAGES for width in WIDTHS]
    (tmp_path / "probe.html").write_text(PROBE % json.dumps(asked))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_pages_fit_a_desk_and_a_phone(browser: str, address: str, tmp_path: Path):
    done = subprocess.run(
        [
            browser,
            *FLAGS,
            f"--user-data-dir={tmp_path}/profile",
            "--dump-dom",
            f"{address}/probe.html",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "/dev/null"},
    )
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert text is not None, done.stderr[-2000:]
    found = json.loads(text[1].replace("&amp;", "&"))
    assert len(found) == len(PAGES) * len(WIDTHS)
    for one in found:
        assert one["title"] > 0, one
        assert one["scroll"] <= one["width"], one
        assert not one["fences"], one
        assert not one["broken"], one
        assert one["code"] > 0, one
