"""Chromium, driven by Selenium, without a screen and without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real_parts.processes import tool


def open_browser(profile: Path, *, size: tuple[int, int] = (1280, 800), scale: float = 1.0) -> Any:
    """Return a Selenium driver whose page area is ``size`` CSS pixels; the caller calls ``quit``.

    Raises:
        MissingPartError: Chromium or its driver is not installed.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = tool("chromium", "chromium-browser", "google-chrome")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # as root there is none
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    # with the driver's path given, Selenium looks nothing up and downloads nothing
    driver = webdriver.Chrome(options=options, service=Service(tool("chromedriver")))
    resize_browser(driver, size, scale)
    return driver


def resize_browser(driver: Any, size: tuple[int, int], scale: float = 1.0) -> None:
    """Give the page exactly ``size`` CSS pixels, as a phone of that size does when it is narrow."""
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600},
    )
