"""What some tests need and a checkout may lack: the folder ../shared and a browser. A pytest plugin that counts them.

A test that uses the fixture `shared` carries the marker `shared_data`, one that uses `browser` the marker `browser`.
Where ../shared is there, a `shared_data` test that is skipped all the same fails the session.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[2] / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
MARKERS = {
    "shared_data": ("shared", "needs the folder ../shared with published numbers, data samples and weights"),
    "browser": ("browser", "needs a browser: make test installs chromium where it may"),
}
"""Marker -> the fixture that brings it, and what it says of the test."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ../shared; tests that use it are skipped where it is absent."""
    return SHARED


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window; its camera shows a test picture."""
    from playwright.sync_api import sync_playwright

    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"No browser: none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(QUIET))
        yield started
        started.close()


def pytest_configure(config: pytest.Config) -> None:
    for marker, (_, meaning) in MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {meaning}")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, (fixture, _) in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
        if item.get_closest_marker("shared_data") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"there is no folder {SHARED}"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under xdist too: the process that reports has the reports of all workers."""
    if SHARED.is_dir() and _of(session.config, "shared_data", "skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for marker in MARKERS:
        ran = len(_of(config, marker, "passed", "failed", "error"))
        skipped = _of(config, marker, "skipped")
        if not ran and not skipped:
            continue
        presence = f" (../shared is {'present' if SHARED.is_dir() else 'absent'})" if marker == "shared_data" else ""
        terminalreporter.write_line(f"{marker}: {ran} ran, {len(skipped)} skipped{presence}")
        if marker == "shared_data" and SHARED.is_dir():
            for name in skipped:
                terminalreporter.write_line(f"FAILED {name}: skipped although ../shared is present", red=True)


def _of(config: pytest.Config, marker: str, *outcomes: str) -> list[str]:
    """Names of the tests with this marker that ended so; none in a worker of xdist, which reports nothing."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    stats = {} if reporter is None else reporter.stats
    reports = [report for outcome in outcomes for report in stats.get(outcome, ())]
    # A file that can't be collected has a report as well, which is of no test.
    tests = [report for report in reports if isinstance(report, pytest.TestReport)]
    return list(dict.fromkeys(report.nodeid for report in tests if marker in report.keywords))
