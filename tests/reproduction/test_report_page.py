"""The report in a browser: no errors, sortable columns, links that lead somewhere, no sideways scrolling."""

import json
import re
import shutil
import subprocess

import pytest

from hype.reproduction.experiments import CONTROL
from hype.reproduction.report import write_report
from tests.reproduction.made_up_runs import section
from tests.reproduction.small_runs import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
# Loads first, so that it hears of every error, and writes what it finds into the page.
LISTENER = """<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
console.error = (...parts) => errors.push(parts.join(" "));
addEventListener("load", () => {
  const page = document.documentElement, folds = [...document.querySelectorAll("details")];
  const isClosed = folds.map(fold => fold.open);
  folds.forEach(fold => fold.open = true);
  const found = {errors, scrolls: [page.scrollWidth - page.clientWidth]};
  folds.forEach((fold, place) => fold.open = isClosed[place]);
  found.scrolls.push(page.scrollWidth - page.clientWidth);
  const head = [...document.querySelectorAll("th")].find(head => head.textContent.trim() === "score");
  const column = () => [...head.closest("table").tBodies[0].rows].map(row => row.cells[head.cellIndex].textContent);
  found.columns = [column()];
  for (let i = 0; i < 2; i++) { head.querySelector("button").click(); found.columns.push(column()); }
  found.links = [...document.querySelectorAll("nav a")].map(link => {
    scrollTo(0, 0);
    document.querySelector("nav details").open = true;
    link.click();
    const target = document.querySelector(link.hash);
    return [link.hash, location.hash, target && Math.round(target.getBoundingClientRect().top)];
  });
  found.height = innerHeight;
  const note = document.createElement("pre");
  note.id = "found";
  note.textContent = JSON.stringify(found);
  document.body.append(note);
});
</script>"""


def browsed(page: str, folder, width: int) -> dict:
    """Return what LISTENER finds in a page that Chromium shows in a window of this width."""
    copy = folder / "copy.html"
    copy.write_text(page.replace("<head>", f"<head>{LISTENER}", 1), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=5000",
        "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)[1].replace("&amp;", "&"))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> str:
    """A report of two sections."""
    folder = tmp_path_factory.mktemp("report")
    scores = {"vanilla": [0.5, 0.6, 0.095], CONTROL: [0.52, 0.61, None], "hype-n 1e-5": [0.52, 0.61, 0.55]}
    write_report([section(scores, name="table_8"), section(scores, name="dose")], None, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [500, 1280])
def test_a_report_sorts_links_and_fits_the_window_without_an_error(width, made_up, tmp_path):
    found = browsed(made_up, tmp_path, width)
    assert found["errors"] == []
    assert found["scrolls"] == [0, 0], "with everything folded out, and as it opens"
    as_written, rising, falling = found["columns"]
    numbers = [float(text) for text in rising if text != "-"]
    assert numbers == sorted(numbers) and as_written != rising and falling != rising
    assert sorted(as_written) == sorted(rising) == sorted(falling)
    targets = [target for target, _, _ in found["links"]]
    assert targets == ["#top", "#table_8", "#dose", "#methods"]
    for target, location, top in found["links"]:
        assert location == target and 0 <= top < found["height"], target


@pytest.mark.parametrize("width", [500, 1280])
@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/report.html")), ids=lambda path: path.parent.name)
def test_a_published_report_fits_the_window_without_an_error(path, width, tmp_path):
    found = browsed(path.read_text(encoding="utf-8"), tmp_path, width)
    assert found["errors"] == [] and found["scrolls"] == [0, 0]
    assert all(location == target for target, location, _ in found["links"]) and len(found["links"]) > 2
