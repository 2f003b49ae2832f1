"""The pictures: what each shows, in which window and theme, and how its page is brought there."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tools.screenshots import png
from tools.screenshots.scene import SECOND, Places

DESK = (1280, 800)
PHONE = (390, 844)
# Pages that could not show what they are about: nothing of it may be in a picture.
FAULTS = ".error-page, [role='alert'], .notice.error"
# The longest that a page may go on loading, in milliseconds.
PATIENCE = 60_000


def _stay(page: Page) -> None:
    """The page is ready as it opens."""


def _open_changes(page: Page) -> None:
    """Open what the first changes of an object's history were."""
    for summary in page.locator("main details > summary").all()[:2]:
        summary.click()


def _follow_log(page: Page) -> None:
    expect(page.locator("#log-state")).to_have_text("Live")
    expect(page.locator("#log .line").nth(20)).to_be_attached()


def _use_shell(page: Page) -> None:
    rows = page.locator("#terminal .xterm-rows")
    expect(page.locator("#terminal-state")).to_have_text("Connected")
    for command, answer in (
        ("ls /", "tmp"),
        ("env | head -n 5", "HOSTNAME="),
        ("ls -l /etc", "hosts"),
    ):
        page.keyboard.type(f"{command}\n")
        expect(rows).to_contain_text(answer)


def _fill_template(page: Page) -> None:
    page.get_by_label("Name of the deployment").fill("autumn-sale")
    page.locator("#targets select").first.select_option(label=SECOND)
    page.locator("#targets input").first.fill("storefront")
    page.get_by_label("Host of the Ingress").fill("sale.example.com")
    page.get_by_label("Name (required)", exact=True).fill("autumn-sale")
    expect(page.locator("#rendered")).to_contain_text("name: autumn-sale")


def _draw_charts(page: Page) -> None:
    expect(page.locator("main canvas").first).to_be_visible()


@dataclass(frozen=True)
class Picture:
    """One picture: the page (`{…}` are `Places`), the window, the theme, what is done first."""

    name: str
    address: str
    size: tuple[int, int] = DESK
    theme: str = "light"
    prepare: Callable[[Page], None] = _stay
    scale: int = 1


PICTURES = (
    Picture("overview", "/"),
    Picture("pods", "/clusters/{cluster}/pods?namespace=checkout"),
    Picture("object", "/clusters/{cluster}/deployments/catalog/image-resizer"),
    Picture("topology", "/clusters/{cluster}/services/storefront/web/topology"),
    Picture("yaml", "/clusters/{cluster}/deployments/checkout/checkout-api/edit"),
    Picture(
        "logs",
        "/clusters/{cluster}/deployments/storefront/web/logs",
        theme="dark",
        prepare=_follow_log,
    ),
    Picture(
        "terminal",
        "/clusters/{cluster}/pods/storefront/{web_pod}/terminal",
        theme="dark",
        prepare=_use_shell,
    ),
    Picture("alerts", "/alerts"),
    Picture("tasks", "/automation"),
    Picture("inspection", "/automation/runs/{inspection}/report"),
    Picture("template", "/templates/{template}/deploy", prepare=_fill_template),
    Picture(
        "history",
        "/clusters/{cluster}/deployments/checkout/checkout-api/history",
        prepare=_open_changes,
    ),
    Picture("drain", "/clusters/{cluster}/nodes/-/node-01/act/drain"),
    Picture("metrics", "/clusters/{cluster}/-/metrics", prepare=_draw_charts),
    Picture("cost", "/cost"),
    Picture("order", "/orders/{order}"),
    Picture("phone", "/", size=PHONE, scale=2),
)
NAMES = tuple(picture.name for picture in PICTURES)


class Studio:
    """A browser that is signed in, for each window and theme."""

    def __init__(self, chromium: Browser, address: str, password: str, places: Places) -> None:
        self._chromium = chromium
        self._address = address
        self._values = asdict(places)
        self._session = self._sign_in(password)

    def take(self, names: Iterable[str], folder: Path) -> None:
        """Take the pictures with these names; RuntimeError for a page that shows a fault."""
        for picture in PICTURES:
            if picture.name in names:
                path = folder / f"console-{picture.name}.png"
                path.write_bytes(png.shrink(self._shoot(picture)))
                print(f"screenshots: {path.name} {path.stat().st_size / 1000:.0f} kB", flush=True)

    def _sign_in(self, password: str) -> dict[str, str]:
        """The cookie of a session."""
        context = self._chromium.new_context()
        page = context.new_page()
        page.goto(f"{self._address}/signin")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", password)
        page.press("input[name=password]", "Enter")
        expect(page.get_by_role("heading", name="Clusters")).to_be_visible()
        cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
        context.close()
        return {"name": "sessionid", "value": cookies["sessionid"], "url": self._address}

    def _context(self, picture: Picture) -> BrowserContext:
        width, height = picture.size
        context = self._chromium.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=picture.scale,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE)
        theme = {"name": "theme", "value": picture.theme, "url": self._address}
        context.add_cookies([self._session, theme])
        return context

    def _shoot(self, picture: Picture) -> bytes:
        context = self._context(picture)
        try:
            page = context.new_page()
            answer = page.goto(self._address + picture.address.format_map(self._values))
            if answer is None or not answer.ok:
                raise RuntimeError(f"{picture.name}: the page was refused")
            page.wait_for_load_state("networkidle")
            picture.prepare(page)
            # Fragments that are loaded later are in the picture, not on their way.
            expect(page.locator(".htmx-request")).to_have_count(0)
            for fault in page.locator(FAULTS).all():
                if fault.is_visible():
                    raise RuntimeError(f"{picture.name}: {fault.inner_text()}")
            return page.screenshot(animations="disabled", caret="hide")
        finally:
            context.close()
