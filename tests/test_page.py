"""The report as a page, in a real browser: what it shows on hovering is what was measured, and nothing leaves it."""

from __future__ import annotations

import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml

from lm.controlled.findings import find as find_controlled
from lm.controlled.report import write_report as write_controlled
from lm.findings.study import find
from lm.report.html import Html
from lm.report.report import write_report
from lm.report.vega import runtime
from lm.results.reference import load_reference
from lm.results.summarize import summarize
from tests.controlled_synthetic import Invented, study, whole
from tests.synthetic import GRID, make_results
from tests.test_report import AWKWARD, CORPUS, TEMPLATES

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None and "CI" not in os.environ:
    warnings.warn("NO CHROMIUM: the report's page is tested in no browser (apt-get install chromium)", stacklevel=1)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="NEEDS CHROMIUM, WHICH CI INSTALLS: apt-get install chromium"
)

COMMITTED = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "reports").rglob("report.html"))
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def written(results: tuple[pd.DataFrame, pd.DataFrame], folder: Path) -> Path:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    findings = find(summarize(*results), load_reference(ROOT / "reports" / "reference"), params)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lm.report.figures.save", lambda canvas, _: plt.close(canvas))  # pictures take most of the time
        write_report(
            findings, configuration="seeds: [42]\n", locked={}, samples=None, templates=TEMPLATES, folder=folder
        )
    return folder / "report.html"


@pytest.fixture(scope="module")
def results() -> tuple[pd.DataFrame, pd.DataFrame]:
    return make_results()


@pytest.fixture(scope="module")
def page_file(results: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(results, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of figure, and few of each."""
    grid = {name: GRID[name] for name in ("2", "3", "5", "9")}
    return written(make_results(grid), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Awkward names, three seeds, a run that diverged."""
    grid = {AWKWARD: ("gpt", 3, "adamw"), "plain": ("lstm", 1, "sgd"), "lost": ("lstm", 2, "sgd")}
    return written(
        make_results(grid, seeds=(1, 2, 3), diverged=("lost",), corpus=CORPUS), tmp_path_factory.mktemp("odd")
    )


def written_controlled(arms: dict[str, Invented], folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lm.controlled.figures.save", lambda canvas, _: plt.close(canvas))
        write_controlled(find_controlled(study(arms)), (), TEMPLATES, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def controlled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_controlled(whole(), tmp_path_factory.mktemp("controlled"))


@pytest.fixture(scope="module")
def beyond_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trials that diverged at rates beyond every finite one."""
    arms = {
        name: replace(arm, trials={**arm.trials, 1000.0: None}) for name, arm in whole().items() if not arm.relative
    }
    return written_controlled(
        whole() | {name: arm for name, arm in arms.items() if arm.part == "rates"},
        tmp_path_factory.mktemp("beyond"),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # as root, as in a container, Chromium's own sandbox can't start
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


OUTSIDE = """plots => plots.map(plot => {
  const all = plot.getBoundingClientRect(), frame = plot.querySelector("path.background").getBoundingClientRect();
  const out = (inner, outer) => inner.left < outer.left - 1 || inner.right > outer.right + 1;
  const centre = ({ left, right }) => ({ left: (left + right) / 2, right: (left + right) / 2 });
  return [
    ...[...plot.querySelectorAll("g.mark-symbol path")].filter(e => out(centre(e.getBoundingClientRect()), frame)),
    ...[...plot.querySelectorAll("text")].filter(e => out(e.getBoundingClientRect(), all)),
  ].map(e => e.textContent || e.getAttribute("transform"));
})"""
"""Of each plot what stands outside: points outside its frame, words outside the whole."""


class Visit:
    """A page opened; ``faults``: what its console said and what it threw; ``requests``: what it asked for."""

    def __init__(self, browser: Any, file: Path, **how: Any) -> None:
        self.page = browser.new_page(**{"viewport": WIDE, **how})
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def draw(self, key: str) -> Any:
        """The figure, scrolled to and drawn."""
        figure = self.page.locator(f"#figure-{key}")
        figure.scroll_into_view_if_needed()
        figure.locator(".canvas svg").last.wait_for()
        return figure

    def draw_all(self) -> None:
        self.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    def spots(self, key: str, panel: int = 0) -> list[list[float]]:
        """Where the marks of a panel's points lie on the screen, in the order in which they are drawn."""
        found: list[list[float]] = (
            self.page.locator(f"#figure-{key} .plot")
            .nth(panel)
            .locator("g.mark-symbol path")
            .evaluate_all(
                "all => all.map(e => e.getBoundingClientRect()).map(r => [r.x + r.width / 2, r.y + r.height / 2])"
            )
        )
        return found

    def violations(self, rules: str) -> list[tuple[str, str]]:
        """What axe-core finds: the rule, and the first element that breaks it; ``rules``: its options."""
        import axe_playwright_python

        self.page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
        found = self.page.evaluate(f"axe.run(document, {rules})")["violations"]
        return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]

    def tip(self, key: str) -> str:
        return str(self.page.locator(f"#figure-{key} .tip:visible").inner_text())


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Visit]:
    opened = Visit(browser, page_file)
    yield opened
    opened.page.close()


def figures(text: str) -> dict[str, float]:
    """What a tip says: the figure behind each name, and nats under their unit."""
    found = {name: float(value.replace(",", "")) for name, value in re.findall(r"([a-z ()]+): ([\d.,]+)$", text, re.M)}
    nats = re.search(r"([\d.]+) nats", text)
    return found | ({"nats": float(nats.group(1))} if nats else {})


class TestFile:
    """What can be seen without a browser."""

    def test_it_is_small_and_names_no_address_to_load_from(self, page_file: Path):
        page = page_file.read_text()
        assert len(page) < 1_200_000
        assert re.findall(r"<(?:link|img|iframe|script)[^>]*(?:src|href)=", page) == []
        assert "default-src 'none'" in page

    def test_vega_comes_with_its_license_and_without_an_end_tag(self):
        assert "University of Washington" in runtime()
        assert "</script" not in runtime()
        assert len(runtime()) > 400_000

    def test_text_is_safe(self):
        assert Html().text("<b> & \"q\" 'r'") == "&lt;b&gt; &amp; &#34;q&#34; &#39;r&#39;"
        assert Html().code("a`<b>") == "<code>a`&lt;b&gt;</code>"

    def test_names_cannot_end_the_data(self, odd_file: Path):
        data = re.findall(r'<script type="application/json">(.*?)</script>', odd_file.read_text(), re.DOTALL)
        assert len(data) >= 5
        assert any("\\u003c" in each for each in data)
        assert not any("<" in each for each in data)

    def test_ids_are_given_once_and_every_link_leads_somewhere(self, page_file: Path):
        page = page_file.read_text()
        given = re.findall(r' id="([^"]+)"', page)
        assert len(given) == len(set(given))
        assert set(re.findall(r'href="#([^"]+)"', page)) <= set(given)


@needs_browser
class TestBrowser:
    @pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
    @pytest.mark.parametrize("which", ["page_file", "odd_file", "controlled_file"])
    def test_no_fault_no_request_and_nothing_wider_than_the_screen(
        self, browser: Any, which: str, size: dict[str, int], request: pytest.FixtureRequest
    ):
        file = request.getfixturevalue(which)
        opened = Visit(browser, file, viewport=size)
        opened.draw_all()
        opened.page.wait_for_timeout(100)
        plots = opened.page.locator(".plot").count()
        assert opened.page.locator(".canvas svg").count() == plots >= 4
        assert opened.faults == []
        assert opened.requests == [file.as_uri()]
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        opened.page.close()

    @pytest.mark.parametrize("which", COMMITTED)
    def test_the_committed_pages(self, browser: Any, which: str):
        """What the repository shows, held to what the pages of invented results are held to."""
        for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
            opened = Visit(browser, ROOT / which, color_scheme=scheme, viewport=size)
            if size is WIDE:  # before all is drawn, which would take axe minutes
                assert opened.violations("{}") == []
            opened.draw_all()
            opened.page.wait_for_timeout(100)
            assert opened.page.locator(".canvas svg").count() == opened.page.locator(".plot").count() >= 4
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert opened.faults == []
            assert opened.requests == [(ROOT / which).as_uri()]
            opened.page.close()

    def test_there_are_committed_pages(self):
        assert {"reports/report.html", "reports/controlled/report.html"} <= set(COMMITTED)

    @pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
    def test_nothing_is_drawn_outside_its_plot(self, browser: Any, beyond_file: Path, size: dict[str, int]):
        """Trials that diverged at rates beyond every finite one, and titles longer than their axis."""
        opened = Visit(browser, beyond_file, viewport=size)
        opened.draw_all()
        found = opened.page.locator(".plot").evaluate_all(OUTSIDE)
        assert len(found) >= 6
        assert [each for each in found if each] == []
        opened.page.close()

    def test_hovering_shows_what_was_measured(self, visit: Visit, results: tuple[pd.DataFrame, pd.DataFrame]):
        _, epochs = results
        visit.draw("optimizers")
        row = epochs[(epochs["experiment"] == "1") & (epochs["epoch"] == 3)].iloc[0]
        visit.page.mouse.move(*visit.spots("optimizers")[3])
        tip = visit.tip("optimizers")
        assert tip.startswith("Adam (1)")
        dot = visit.page.locator("#figure-optimizers .dot:visible").bounding_box()
        centre = [dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2]
        assert centre == pytest.approx(visit.spots("optimizers")[3], abs=1.5)
        shown = figures(tip)
        assert shown["epoch"] == 3
        assert shown["validation perplexity"] == pytest.approx(row["validation_perplexity"], rel=5e-4)
        assert shown["nats"] == pytest.approx(row["validation_loss"], rel=5e-4)
        passed = epochs[(epochs["experiment"] == "1") & (epochs["epoch"] <= 3)]["train_seconds"].sum()
        assert shown["training time (s)"] == pytest.approx(passed, rel=5e-4)

    def test_every_point_of_the_scatter_reads_as_its_run(
        self, visit: Visit, results: tuple[pd.DataFrame, pd.DataFrame]
    ):
        runs, _ = results
        figure = visit.draw("pareto")
        for row in runs.itertuples():
            # of points that lie on each other only the one that is isolated is read
            button = figure.get_by_role("button", name=re.compile(f"^{row.experiment}: "))
            button.click()
            plot = figure.locator(".plot")
            plot.focus()
            visit.page.keyboard.press("ArrowRight")
            shown = figures(visit.tip("pareto"))
            assert shown["best validation perplexity"] == pytest.approx(row.validation_perplexity, rel=5e-4)
            assert shown["training time (s)"] == pytest.approx(row.train_seconds, rel=5e-4)
            button.click()

    def test_bars_show_what_the_memory_model_counts(self, visit: Visit, results: tuple[pd.DataFrame, pd.DataFrame]):
        runs, _ = results
        plot = visit.draw("memory").locator(".plot")
        plot.focus()
        for key, experiment, part, column in (
            ("Home", "1: LSTM", "parameters", "model_parameters_mb"),
            ("End", "12: GPT-1", "measured peak of a step", "memory_footprint_mb"),
        ):
            visit.page.keyboard.press(key)
            tip = visit.tip("memory")
            assert tip.startswith(experiment)
            shown = float(re.search(rf"{part}: ([\d.]+) MiB", tip).group(1))
            assert shown == pytest.approx(runs.set_index("experiment").loc[experiment.split(":")[0], column], rel=5e-4)

    def test_the_controlled_study_reads_too(self, browser: Any, controlled_file: Path):
        """A trial by its rate, and an arm by its mean over seeds with the interval."""
        opened = Visit(browser, controlled_file)
        arms = {arm.name: arm for arm in study(whole()).arms}
        opened.draw("rates").locator(".plot").first.focus()
        opened.page.keyboard.press("Home")
        shown = figures(opened.tip("rates"))
        first = min(arms["lstm_adam"].trials, key=lambda trial: trial.rate)
        assert opened.tip("rates").startswith("Adam\n")
        assert shown["learning rate"] == pytest.approx(first.rate, rel=5e-4)
        assert shown["nats"] == pytest.approx(first.loss, rel=5e-4)
        figure = opened.draw("confirmed")
        figure.get_by_role("button", name="GPT-1, Momentum").click()
        figure.locator(".plot").focus()
        opened.page.keyboard.press("Home")
        losses = arms["gpt_momentum"].losses.values()
        mean = math.exp(sum(losses) / len(losses))
        assert figures(opened.tip("confirmed"))["test perplexity"] == pytest.approx(mean, rel=5e-4)
        assert "interval" in opened.tip("confirmed")
        opened.page.close()

    def test_the_keyboard_reads_and_it_is_heard(self, visit: Visit):
        plot = visit.draw("experiment-1").locator(".plot")
        plot.focus()
        for key in ("Home", "ArrowRight", "ArrowDown"):
            visit.page.keyboard.press(key)
        assert visit.tip("experiment-1").startswith("training (after the epoch)")
        assert "epoch: 1" in visit.page.locator(".heard").text_content()
        visit.page.keyboard.press("Escape")
        assert visit.page.locator("#figure-experiment-1 .tip:visible").count() == 0

    def test_a_click_on_the_legend_isolates_and_another_one_shows_all(self, visit: Visit):
        figure = visit.draw("optimizers")
        strengths = "all => all.map(e => Number(e.getAttribute('opacity') ?? 1))"
        lines = figure.locator("g.mark-line path")
        button = figure.get_by_role("button", name="SGD (3)")
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        faint = lines.evaluate_all(strengths)
        assert sorted(faint)[-1] == 1
        assert sum(each == 1 for each in faint) == 1
        figure.get_by_role("button", name="show all").click()
        assert set(lines.evaluate_all(strengths)) == {1}
        assert button.get_attribute("aria-pressed") == "false"

    def test_scales_and_axes_switch(self, visit: Visit, results: tuple[pd.DataFrame, pd.DataFrame]):
        """On a linear scale equal differences are equally far apart, on a logarithmic one equal ratios."""
        _, epochs = results
        figure = visit.draw("optimizers")
        own = epochs[epochs["experiment"] == "1"]
        value = own["validation_perplexity"].to_list()
        passed = own["train_seconds"].cumsum().to_list()

        def share(of: list[float], axis: int) -> tuple[float, float]:
            spots = [spot[axis] for spot in visit.spots("optimizers")[:10]]
            return (
                (spots[2] - spots[0]) / (spots[9] - spots[0]),
                (of[2] - of[0]) / (of[9] - of[0]),
            )

        logs = [float(each) for each in own["validation_loss"]]
        assert share(logs, 1)[0] == pytest.approx(share(logs, 1)[1], abs=0.01)
        figure.get_by_role("button", name="linear").click()
        assert share(value, 1)[0] == pytest.approx(share(value, 1)[1], abs=0.01)
        assert share([float(epoch) for epoch in range(10)], 0)[0] == pytest.approx(2 / 9, abs=0.01)
        figure.get_by_role("button", name="training time").click()
        assert share(passed, 0)[0] == pytest.approx(share(passed, 0)[1], abs=0.01)
        assert visit.faults == []

    def test_tables_sort_with_what_is_missing_last(self, visit: Visit):
        table = visit.page.locator("#table-states table")
        head = table.locator("th", has_text="Below unigram from")
        column = head.evaluate("e => e.cellIndex")
        for order in ("ascending", "descending"):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == order
            cells = [row[column] for row in self.cells(table)]
            known = [float(cell) for cell in cells if cell != "–"]
            assert cells[len(known) :] == ["–"] * (len(cells) - len(known)) != []
            assert known == sorted(known, reverse=order == "descending")

    def test_names_sort_as_a_reader_counts(self, visit: Visit):
        table = visit.page.locator("#table-performance table")
        table.locator("th").first.get_by_role("button").click()
        assert [row[0] for row in self.cells(table)] == [str(number) for number in range(1, 1 + len(GRID))]

    def cells(self, table: Any) -> list[list[str]]:
        found: list[list[str]] = table.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
        )
        return found

    @pytest.mark.parametrize(
        ("scheme", "size", "rules"), [("light", WIDE, "{}"), ("dark", NARROW, "{runOnly: ['color-contrast']}")]
    )
    def test_axe_finds_nothing(self, browser: Any, small_file: Path, scheme: str, size: dict[str, int], rules: str):
        """Contrast, names, roles, order: every rule of axe-core, with tables of values open and a line isolated; on
        a dark page, contrast, which alone can change there."""
        opened = Visit(browser, small_file, color_scheme=scheme, viewport=size)
        opened.draw("optimizers").get_by_role("button", name="SGD (3)").click()
        opened.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        opened.page.locator("#figure-optimizers .plot").first.focus()
        opened.page.keyboard.press("Home")
        assert opened.violations(rules) == []
        opened.page.close()

    def test_the_reader_chooses_the_colours_and_paper_is_white(self, visit: Visit):
        background = "getComputedStyle(document.body).backgroundColor"
        assert visit.page.evaluate(background) == "rgb(255, 255, 255)"
        visit.page.get_by_label("Colours").select_option("dark")
        assert visit.page.evaluate(background) == "rgb(20, 24, 29)"
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate(background) == "rgb(255, 255, 255)"

    def test_without_scripts_all_is_there_to_read(self, browser: Any, page_file: Path):
        opened = Visit(browser, page_file, java_script_enabled=False)
        figure = opened.page.locator("#figure-experiment-1")
        figure.locator("summary").click()
        assert figure.locator("tbody tr:visible").count() == 10
        assert opened.page.locator(".theme").is_hidden()
        opened.page.close()
