"""A headless Chromium, where one is installed (Debian's package will do)."""

import contextlib
import shutil

import pytest


@contextlib.contextmanager
def page(width=1280, height=900):
    """A fresh page; skips the test without a browser."""
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        made = browser.new_page(viewport={"width": width, "height": height})
        made.set_default_timeout(20_000)
        try:
            yield made
        finally:
            browser.close()
