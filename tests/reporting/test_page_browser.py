"""The page in a real browser: it works, asks for nothing, fits a phone, and can be used by everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from example_studies import CLASSES, METHOD, gain, study

from segdistill import report
from segdistill.studies.result import ALONE

WIDTHS = {"phone": 360, "desktop": 1280}


@dataclass
class Opened:
    """A page in the browser, with everything it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def style(self, selector: str, name: str) -> str:
        value: str = self.page.eval_on_selector(selector, f"each => getComputedStyle(each)[{name!r}]")
        return value

    def source(self, selector: str) -> str:
        """The picture that can be seen there, or nothing."""
        place = self.page.locator(selector)
        return place.get_attribute("src") if place.is_visible() else ""


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file; width of the window, color scheme and other settings of the browser."""
    contexts = []

    def open_file(file: Path, *, width: int = 1280, **settings: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("console", lambda line: opened.complaints.append(line.text))
        opened.page.on("dialog", lambda box: (opened.complaints.append(f"dialog {box.message}"), box.dismiss()))
        opened.page.goto(file.as_uri())
        return opened

    yield open_file
    for context in contexts:
        context.close()


def test_nothing_leaves_the_file_and_nothing_is_complained_of(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page)
    opened.page.locator("#show-errors").check()
    opened.page.locator("input[name=image]").nth(2).check()
    assert opened.page.evaluate("[...document.images].filter(each => each.src && !each.complete).length") == 0
    assert opened.requests[0] == page.as_uri()
    assert all(address.startswith("data:") for address in opened.requests[1:])
    assert opened.complaints == []


def test_the_divider_is_dragged_with_the_mouse_and_moved_with_keys(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page)
    stage = opened.page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    across, middle = (lambda share: box["x"] + share * box["width"]), box["y"] + box["height"] / 2
    opened.page.mouse.move(across(0.5), middle)
    opened.page.mouse.down()
    opened.page.mouse.move(across(0.25), middle, steps=4)
    line = opened.page.locator(".line").bounding_box()
    step = 0.01 * box["width"]
    assert line["x"] + line["width"] / 2 == pytest.approx(across(0.25), abs=0.6 * step)
    opened.page.mouse.up()
    assert opened.style("#left-classes", "clipPath").startswith("inset(0px 7")
    assert opened.style("#right-classes", "clipPath").startswith("inset(0px 0px 0px 2")
    before = int(opened.page.locator("#divider").input_value())
    opened.page.locator("#divider").focus()
    opened.page.keyboard.press("ArrowRight")
    assert int(opened.page.locator("#divider").input_value()) == before + 1
    assert (
        opened.page.locator("#divider").get_attribute("aria-valuetext") == f"{before + 1} % left, {99 - before} % right"
    )
    opened.page.keyboard.press("End")
    assert opened.style("#left-classes", "clipPath") == "inset(0px 0% 0px 0px)"


def test_the_divider_is_dragged_with_a_finger(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page, width=360, has_touch=True, is_mobile=True)
    stage = opened.page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    finger = opened.page.context.new_cdp_session(opened.page)
    places = [
        {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2} for share in (0.5, 0.6, 0.7, 0.8)
    ]
    for kind, place in zip(("touchStart", *["touchMove"] * 3), places, strict=True):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert int(opened.page.locator("#divider").input_value()) == pytest.approx(80, abs=1)


def test_switches_put_label_teacher_errors_and_edges_on_and_off(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page)
    image = opened.page.evaluate("JSON.parse(document.getElementById('pictures').textContent).images[0]")
    of = {each["name"]: each for each in image["networks"]}
    switch, see = (lambda name: opened.page.locator(f"#show-{name}")), opened.source
    assert (see("#left-classes"), see("#right-classes")) == (of[ALONE]["classes"], of[METHOD]["classes"])
    assert (see("#left-errors"), see("#edges")) == ("", "")

    switch("errors").check()
    assert (see("#left-errors"), see("#right-errors")) == (of[ALONE]["errors"], of[METHOD]["errors"])
    assert see("#left-classes") == ""
    switch("errors").uncheck()

    switch("label").check()
    assert (see("#left-classes"), see("#right-classes")) == (image["label"], "")
    assert opened.style("#left-classes", "clipPath") == "none"
    switch("teacher").check()
    assert not switch("label").is_checked()
    assert see("#left-classes") == of["teacher"]["classes"]
    assert opened.page.locator("#choice").inner_text() == f"{image['name']}: teacher {of['teacher']['miou']} mIoU."
    switch("teacher").uncheck()

    switch("edges").check()
    assert see("#edges") == image["edges"]
    opened.page.locator("#blend").fill("0")
    assert opened.style("#left-classes", "opacity") == "0"


def test_networks_and_images_are_chosen(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page)
    images = opened.page.evaluate("JSON.parse(document.getElementById('pictures').textContent).images")
    opened.page.locator("#left").select_option(label="teacher")
    opened.page.locator("input[name=image]").nth(3).check()
    networks = {each["name"]: each for each in images[3]["networks"]}
    assert opened.source("#left-classes") == networks["teacher"]["classes"]
    text = opened.page.locator("#choice").inner_text()
    assert (
        text
        == f"{images[3]['name']}: teacher {networks['teacher']['miou']} mIoU, {METHOD} {networks[METHOD]['miou']} mIoU."
    )
    listed = opened.page.locator("#classes li").all_inner_texts()
    assert listed == [CLASSES[index] for index in images[3]["classes"]]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_and_the_window_is_wide_enough(
    show: Callable[..., Opened], page: Path, width: int, scheme: str
) -> None:
    opened = show(page, width=width, color_scheme=scheme)
    opened.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    response = Axe().run(opened.page).response
    faults = [(fault["id"], node["html"][:90]) for fault in response["violations"] for node in fault["nodes"]]
    assert faults == []


def test_dark_is_dark_and_paper_is_white(show: Callable[..., Opened], page: Path) -> None:
    assert opened_ground(show(page, color_scheme="light")) > 240
    dark = show(page, color_scheme="dark")
    assert opened_ground(dark) < 40
    dark.page.emulate_media(media="print", color_scheme="dark")
    assert opened_ground(dark) > 240
    assert not dark.page.locator(".controls").is_visible()


def opened_ground(opened: Opened) -> int:
    """The red of the background."""
    return int(opened.style("body", "backgroundColor").removeprefix("rgb(").partition(",")[0])


def test_paper_has_the_folded_tables(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page)
    recipe = opened.page.locator("#made details pre")
    assert not recipe.is_visible()
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert recipe.is_visible()
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not recipe.is_visible()


def test_without_scripts_images_and_numbers_are_there(show: Callable[..., Opened], page: Path) -> None:
    opened = show(page, java_script_enabled=False)
    assert opened.page.get_by_text("Comparing images needs JavaScript").is_visible()
    assert opened.page.locator(".thumbnails img").first.is_visible()
    assert not opened.page.locator("#compare").is_visible()
    assert opened.page.locator("#images td").count() > 8


def test_a_page_without_pictures_and_with_many_methods_and_classes_fits_a_phone(
    show: Callable[..., Opened], tmp_path: Path
) -> None:
    gains = {f"method_{index}_{'of_a_long_name' * 3}": gain(index - 6.0, (index - 8, index - 4)) for index in range(12)}
    study(gains, classes=182).save(tmp_path)
    opened = show(report(tmp_path, quiet=True).file, width=360)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert opened.complaints == []
    overlapping = opened.page.evaluate(
        """() => {
            const tops = [...document.querySelectorAll('.point text')].slice(0, 13).map(each => each.getBBox().y);
            return tops.some((top, index) => index > 1 && Math.abs(top - tops[index - 1]) < 10);
        }"""
    )
    assert not overlapping
