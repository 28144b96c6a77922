"""Chromium, driven by Selenium, without a screen and without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from real_parts.processes import tool

CONTRASTS = """
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = (text) => {
  const found = text.match(/[\\d.]+/g).map(Number);
  return found.length < 4 ? [...found, 1] : found;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = numbers(getComputedStyle(at).backgroundColor);
    if (colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const worst = {};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
  if (!text || !element.getClientRects().length || element.closest("script, style, .unseen")) continue;
  const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
  worst[text] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
return worst;
"""
"""Contrast of every visible text against what lies behind it, as WCAG defines it."""


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


def texts(browser: Any, css: str) -> list[str]:
    """What is shown of each match, all at one moment: an element may be gone a moment later."""
    found: list[str] = browser.execute_script(
        """return [...document.querySelectorAll(arguments[0])].map(
          (one) => one.innerText.replace(/\\s+/g, " ").trim())""",
        css,
    )
    return found


def text_of(browser: Any, css: str) -> str:
    """What is shown of the first match; empty when there is none."""
    return next(iter(texts(browser, css)), "")


def visible(browser: Any, css: str) -> bool:
    """Tell whether a match is to be seen."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].some((one) => one.getClientRects().length > 0)"
    )
    return bool(browser.execute_script(script, css))
