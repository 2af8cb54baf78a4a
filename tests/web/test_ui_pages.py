"""The pages of runs and data in a real browser: what is seen, what keys do, what a screen reader is told."""

# Fixtures are imported by name, and named again as arguments:
# ruff: noqa: F811

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from play_pages import opened, until
from ui_places import Served, append_rows, make_run, serving, ui, ui_data, ui_runs  # noqa: F401

pytestmark = pytest.mark.slow  # a browser starts, and pages wait for what they ask for

READY = "[data-ready=true]"
CARD = """---
run: done
---
# A plan
Some **bold** words, `code`, and a [link](https://example.org/). <img src=x onerror="document.title='owned'">

| what | value |
|---|---|
| games | 60 |

<script>document.title = "owned"</script>
"""


@pytest.fixture
def many(tmp_path: Path, ui_runs: Path) -> Path:
    """Runs that a test may change."""
    shutil.copytree(ui_runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def served(many: Path, ui_data: Path) -> Iterator[Served]:
    with serving(many, ui_data) as found:
        yield found


def told(page: Any) -> str:
    """What the chart says of itself."""
    return str(page.locator("canvas").first.get_attribute("aria-label"))


def unnamed(page: Any) -> list[str]:
    """What one can reach by keys and has no name that a screen reader could say."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => [...document.querySelectorAll("a[href], button, input, select, canvas, [tabindex='0']")]
            .filter(one => one.checkVisibility())
            .filter(one => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()))
            .map(one => one.outerHTML.slice(0, 120))"""
    )


@pytest.mark.parametrize("path", ["#/runs", "#/runs/done", "#/data", "#/none"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_names_its_controls_and_keeps_its_console_clean(
    served: Served, browser: Any, path: str, width: int
) -> None:
    with opened(browser, f"{served.url}{path}", reduced_motion="reduce") as page:  # colours change at once
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_selector(READY, state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert unnamed(page) == []
        assert page.locator("main h1").count() == 1
        assert page.locator("header nav[aria-label]").count() == 1
        assert page.locator(".tabs [aria-current=page]").count() == 1
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            assert low_contrast(page) == []


@pytest.mark.parametrize("view", ["runs", "data"])
def test_what_the_first_view_shows_is_asked_for_early_and_once(served: Served, browser: Any, view: str) -> None:
    """shell/first.js and the views must name the same addresses, or everything is asked for twice."""
    asked: list[str] = []
    with opened(browser, "about:blank") as page:
        page.on("request", lambda request: asked.append(request.url.removeprefix(served.url)))
        page.goto(f"{served.url}#/{view}")
        page.wait_for_selector(READY, state="attached")
        assert page.evaluate("window.asked.size") == 0, "what was asked for early was taken"
    early = [address for address in asked if address.startswith("api/")]
    assert early, "the view rests on something"
    assert len(early) == len(set(early))


def low_contrast(page: Any) -> list[str]:
    """Texts with less than 4.5 to 1 against the ground that they stand on (where that is one colour)."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
          const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const rgba = text => { probe.clearRect(0, 0, 1, 1); probe.fillStyle = text; probe.fillRect(0, 0, 1, 1);
            return [...probe.getImageData(0, 0, 1, 1).data]; };
          const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
          const ground = one => { for (let at = one; at; at = at.parentElement) {
            const found = rgba(getComputedStyle(at).backgroundColor); if (found[3] === 255) return found; }
            return rgba(getComputedStyle(document.body).backgroundColor); };
          const bad = [];
          for (const one of document.querySelectorAll("main *, header *")) {
            const own = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
            if (!own || !one.checkVisibility() || one.closest(".unseen, [disabled], .bar-row, option")) continue;
            const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${one.outerHTML.slice(0, 90)}`);
          }
          return bad;
        }"""
    )


def test_runs_are_listed_chosen_sorted_and_found(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/runs") as page:
        page.wait_for_selector(READY, state="attached")
        assert page.locator("table.runs tbody tr").count() == 3
        assert "1 running" in page.locator("main").inner_text()
        assert "done 0.125" in told(page)
        assert "under-way 0.2" in told(page)
        box = page.get_by_label("done on the chart")
        assert box.is_checked()
        box.focus()
        page.keyboard.press("Space")
        until(
            page,
            lambda: page.evaluate(
                "!document.querySelector('canvas').getAttribute('aria-label').includes('done 0.125')"
            ),
        )
        assert "runs=" in page.url
        page.get_by_role("button", name="val loss").click()
        assert page.locator("th[aria-sort]").inner_text().startswith("val loss")
        first = page.locator("tbody tr th a").all_inner_texts()
        page.get_by_role("button", name="val loss").click()
        assert page.locator("tbody tr th a").all_inner_texts() == first[::-1]
        page.get_by_label("Find runs by name").fill("early")
        assert page.locator("tbody tr th a").all_inner_texts() == ["stopped-early"]
        page.get_by_label("Find runs by name").fill("no such")
        assert "No run fits" in page.locator("main").inner_text()


def test_curves_are_read_by_keys_and_scaled(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/runs") as page:
        page.wait_for_selector(READY, state="attached")
        page.locator("canvas").focus()
        page.keyboard.press("Home")
        until(page, lambda: page.evaluate("document.getElementById('live').textContent.startsWith('step 10:')"))
        assert page.locator(".tip").is_visible()
        page.keyboard.press("ArrowRight")
        until(page, lambda: page.evaluate("document.getElementById('live').textContent.startsWith('step 20:')"))
        assert "done 2.5" in page.locator("#live").inner_text()
        page.keyboard.press("Escape")
        page.wait_for_selector(".tip", state="hidden")
        before = page.locator("canvas").screenshot()
        page.get_by_label("log values").check()
        page.wait_for_timeout(100)
        after = page.locator("canvas").screenshot()
        assert before != after
        page.get_by_label("Smoothing").fill("90")
        page.wait_for_timeout(100)
        assert page.locator("canvas").screenshot() != after
        page.get_by_label("Smoothing").fill("0")
        page.get_by_label("Metric").select_option("val_change_acc")
        until(
            page,
            lambda: page.evaluate("document.querySelector('canvas').getAttribute('aria-label').includes('done 0.4')"),
        )
        box = page.locator("canvas").bounding_box()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 50)
        page.wait_for_selector(".tip", state="visible")
        assert "val" not in page.locator(".tip").inner_text()


def test_pages_follow_what_grows(served: Served, many: Path, browser: Any) -> None:
    with opened(browser, f"{served.url}#/runs") as page:
        page.wait_for_selector(READY, state="attached")
        from worldmodel.runs.folder import RunFolder

        append_rows(RunFolder(many / "under-way"), 26, 100)
        make_run(many, "a-new-one", phase="training", reason=None)
        page.wait_for_selector("tr[data-id=a-new-one]", timeout=15_000)
        until(
            page,
            lambda: page.evaluate(
                "document.querySelector('canvas').getAttribute('aria-label').includes('under-way 0.05')"
            ),
        )


def test_one_run_with_its_card_which_is_text_and_nothing_else(served: Served, many: Path, browser: Any) -> None:
    (many / "done" / "card.md").write_text(CARD)
    with opened(browser, f"{served.url}#/runs/done") as page:
        page.wait_for_selector(READY, state="attached")
        said = page.locator("main").inner_text()
        assert "400 of 400" in said
        assert "non_finite" in said
        assert page.locator("[role=meter]").count() == 2
        assert page.locator(".charts canvas").count() >= 4
        assert page.locator(".prose strong").inner_text() == "bold"
        assert page.locator(".prose table td").inner_text() == "60"
        assert page.locator(".prose img, .prose script").count() == 0
        assert "<script>" in page.locator(".prose").inner_text()
        assert page.title() == "done · worldmodel"
        page.get_by_label("Show another metric").select_option("pace/step_ms")
        page.wait_for_selector("h3:has-text('pace/step_ms')")


def test_what_is_not_there_is_said_in_words(served: Served, browser: Any) -> None:
    for path, words in (("#/runs/none", "no run 'none'"), ("#/compare/done,under-way", "worldmodel eval")):
        page = browser.new_page()
        page.goto(f"{served.url}{path}")
        page.wait_for_selector("[role=alert]:visible")
        assert words in page.locator("main").inner_text()
        page.close()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluated runs, "still" and "flying"."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
    from memory_games import naive, read_from_memory
    from test_compare import evaluated

    root = tmp_path_factory.mktemp("compared")
    (root / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        read_from_memory(patch)
        for name, model in (("still", "copy_last"), ("flying", "ballistic")):
            evaluated(root / name, naive(model)).path.rename(root / "runs" / name)
    return root / "runs"


def test_two_runs_are_compared_as_the_verb_does(compared: Path, browser: Any) -> None:
    from worldmodel.evaluation.compare import compare, read_side

    expected = compare(read_side(compared / "still" / "report"), read_side(compared / "flying" / "report"))
    with serving(compared) as served:
        found = served.get("/api/compare?a=still&b=flying")
        assert found == json.loads(json.dumps(expected))
        for width in (1280, 390):
            with opened(browser, f"{served.url}#/compare/still,flying") as page:
                page.set_viewport_size({"width": width, "height": 844})
                page.wait_for_selector(READY, state="attached")
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert unnamed(page) == []
                rows = page.locator("section[aria-label=Headlines] tbody tr")
                assert rows.count() == len(expected["headlines"])
                words = {"better": "B is better", "worse": "B is worse"}
                for k, row in enumerate(expected["headlines"]):
                    assert words.get(row["verdict"], row["verdict"]) in rows.nth(k).inner_text()
                assert page.locator(".sides a").all_inner_texts() == ["still", "flying"]


def test_data_is_covered_filtered_and_opened(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/data") as page:
        page.wait_for_selector(READY, state="attached")
        assert page.locator("table.games tbody tr").count() == 50
        page.get_by_role("button", name="Next →").click()
        until(page, lambda: page.evaluate("document.querySelectorAll('table.games tbody tr').length === 10"))
        stage = page.locator("section[aria-label=Stages] button").first
        name = stage.locator("span").first.inner_text()
        stage.click()
        until(
            page,
            lambda: page.evaluate(
                "name => [...document.querySelectorAll('.games td:nth-child(2)')].every(one => one.innerText === name)",
                name,
            ),
        )
        assert stage.get_attribute("aria-pressed") == "true"
        assert "stage=" in page.url
        assert "games" in page.locator("#live").inner_text()
        stage.click()
        page.get_by_label("Find a game").fill("zzz")
        page.wait_for_selector("text=No game fits")
        page.get_by_label("Find a game").fill("")
        link = page.get_by_role("link", name="Watch").first
        link.wait_for()
        assert link.get_attribute("href").startswith("#/view?game=")


def test_a_game_opens_in_the_viewer(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/data") as page:
        page.wait_for_selector(READY, state="attached")
        page.get_by_role("link", name="Watch").first.click()
        page.wait_for_selector("main[data-view=view] canvas")
        assert page.locator(".tabs [aria-current=page]").inner_text() == "Viewer"


def test_colours_are_chosen_and_kept(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/runs", color_scheme="light") as page:
        page.wait_for_selector(READY, state="attached")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        for _ in range(2):
            page.locator("#theme").click()
        assert page.locator("#theme").get_attribute("aria-label") == "Colours: dark"
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        page.wait_for_selector(READY, state="attached")
        assert page.evaluate(ground) == dark


def test_keys_reach_everything_and_the_focus_is_seen(served: Served, browser: Any) -> None:
    with opened(browser, f"{served.url}#/runs") as page:
        page.wait_for_selector(READY, state="attached")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        assert page.locator("table.runs").count() == 1  # the skip link is no view
        seen = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            style = page.evaluate(
                "(() => { const one = document.activeElement, host = one.closest('label') ?? one;"
                "return [one.tagName, getComputedStyle(one).outlineStyle, getComputedStyle(host).outlineStyle] })()"
            )
            if style[0] == "BODY":
                break
            assert "none" not in style[1:2] or style[2] != "none", style
            seen.add(style[0])
        assert {"A", "BUTTON", "CANVAS", "INPUT", "SELECT"} <= seen


def test_the_policy_forbids_what_is_not_ours(served: Served, browser: Any) -> None:
    page = browser.new_page()
    page.goto(f"{served.url}#/runs")
    page.wait_for_selector(READY, state="attached")
    blocked = page.evaluate(
        """() => new Promise(done => {
          const found = [];
          document.addEventListener("securitypolicyviolation", event => {
            found.push(event.effectiveDirective);
            if (found.length === 3) done(found.sort());
          });
          const script = document.createElement("script");
          script.textContent = "document.title = 'owned'";
          document.head.append(script);
          fetch("http://127.0.0.2:9/").catch(() => {});
          const image = new Image();
          image.src = "http://127.0.0.2:9/x.png";
        })"""
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert page.title() != "owned"
    page.close()


def test_no_page_asks_another_host(served: Served, browser: Any) -> None:
    asked: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    for path in ("#/runs", "#/runs/done", "#/data"):
        page.goto(f"{served.url}{path}")
        page.wait_for_selector(READY, state="attached")
    context.close()
    assert asked
    assert all(url.startswith((served.url, "data:", "blob:")) for url in asked)
    assert json.dumps(asked).count("/api/runs") >= 2
