"""The page of the API at `/docs`, used as a new user would use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Watch
from tests.system.instance import PASSWORD, settled
from tests.waiting import until

if TYPE_CHECKING:
    import httpx2
    from playwright.async_api import Browser, Locator, Page

    from tests.system.instance import Instance

PHOTO = Path(__file__).parents[1] / "photos" / "waterfall_640x480.jpg"
EMAIL = "grace@example.org"
TAGS = [
    *("accounts", "spaces", "invitations", "keys"),
    *("images", "files", "tasks", "queues", "books", "trash", "events", "health"),
]
PICTURES = ("images.picture", "images.rendition", "tasks.image", "files.thumbnail")
STEPS = ["create", "list", "get", "change", "delete"]
IMAGES = [
    "Upload a picture into a space",
    "Move pictures into another space",
    "Change up to a thousand pictures",
    "List the pictures of a space",
    "List the tags of a space",
    "Count the pictures that filters find",
    "Get the index of a library",
    "Download pictures, or what is known of them",
    "Get a picture",
    "Get the record of a picture",
    "Get a rendition of a picture",
    "Change a picture's title, description or tags",
    "Replace a picture's title, description and tags",
    "Process a failed picture again",
    "Delete a picture",
]


class Shown(NamedTuple):
    """An operation that answers with a picture: what to fill in, and the size of the picture."""

    values: dict[str, str]
    width: int
    height: int


@pytest.fixture(scope="module")
def pictures(instance: Instance) -> dict[str, Shown]:
    """A user's picture, task and file, processed; by the ids of operations that show them."""
    client = instance.user(EMAIL)
    content = PHOTO.read_bytes()
    form = {"title": "Waterfall", "description": "A waterfall."}
    image = client.post("/api/images", files={"file": ("w.jpg", content)}, data=form).json()
    files = {"image": ("w.jpg", content)}
    task = client.post("/api/tasks", files=files, data={"meta": "Wet?"}).json()
    file = client.post("/api/upload/", files={"file": ("w.jpg", content)}).json()
    file = inspected(client, file["url"])
    made = {each["name"]: each for each in settled(client, image["id"])["renditions"]}
    original, thumbnail = {"width": 640, "height": 480}, file["result"]["thumbnail"]
    sizes = (made["captioned"], made["100x100"], original, thumbnail)
    values = (
        {"image_id": str(image["id"])},
        {"image_id": str(image["id"]), "name": "100x100"},
        {"task_id": str(task["id"])},
        {"file_id": str(file["id"])},
    )
    pairs = zip(values, sizes, strict=True)
    shown = [Shown(each, size["width"], size["height"]) for each, size in pairs]
    return dict(zip(PICTURES, shown, strict=True))


def inspected(client: httpx2.Client, url: str) -> dict[str, Any]:
    """The record of a file once it has been inspected."""

    def final() -> dict[str, Any] | None:
        record: dict[str, Any] = client.get(url).json()
        return record if record["status"] != "queued" else None

    record = until(final)
    assert record is not None
    return record


async def operation(page: Page, name: str) -> Locator:
    """An operation's part of the page, ready to be tried."""
    link = f"a[href='#/{name.partition('.')[0]}/{name}']"
    part = page.locator(".opblock", has=page.locator(link))
    await part.locator(".opblock-summary-control").click()
    await part.get_by_role("button", name="Try it out").click()
    return part


async def execute(part: Locator, values: dict[str, str]) -> Locator:
    """Send the request with these values of parameters; the part that shows the answer."""
    for name, value in values.items():
        await part.locator(f"tr[data-param-name='{name}'] input").fill(value)
    await part.get_by_role("button", name="Execute").click()
    return part.locator(".live-responses-table .response")


async def sign_in(page: Page) -> None:
    """Through the dialog of the page."""
    await page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".dialog-ux .modal-ux")
    await dialog.get_by_label("username:").fill(EMAIL)
    await dialog.get_by_label("password:").fill(PASSWORD)
    await dialog.get_by_role("button", name="Apply given OAuth2 credentials").click()
    await dialog.get_by_role("button", name="Remove authorization").wait_for()
    await dialog.get_by_role("button", name="Close").first.click()  # each scheme has one


async def open_docs(page: Page) -> None:
    """With all operations listed."""
    await page.goto("/docs")
    await expect(page.locator(".opblock").first).to_be_visible()


@pytest.mark.parametrize("name", PICTURES)
async def test_the_picture_is_shown(page: Page, pictures: dict[str, Shown], name: str) -> None:
    """Signed in by the page's own dialog: a picture of the right size, not a broken one."""
    await open_docs(page)
    await sign_in(page)
    answer = await execute(await operation(page, name), pictures[name].values)
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    picture = answer.locator("img")
    await expect(picture).to_be_visible()
    await expect(picture).to_have_js_property("naturalWidth", pictures[name].width)
    await expect(picture).to_have_js_property("naturalHeight", pictures[name].height)


async def test_a_picture_is_uploaded(page: Page, pictures: dict[str, Shown]) -> None:
    """With a file alone, what else the form offers left as it is."""
    await open_docs(page)
    await sign_in(page)
    part = await operation(page, "images.upload")
    await part.locator("input[type=file]").first.set_input_files(PHOTO)
    answer = await execute(part, {})
    await expect(answer.locator(".response-col_status")).to_contain_text("201")


async def test_operations_are_in_a_useful_order(page: Page) -> None:
    """By tag; within it create, list, get, change, delete; then the same of what is deprecated."""
    await open_docs(page)
    sections = page.locator(".opblock-tag-section")
    assert [await tag_of(section) for section in await sections.all()] == TAGS
    for section in await sections.all():
        found = [await place_of(block) for block in await section.locator(".opblock").all()]
        assert found == sorted(found), await tag_of(section)
    images = sections.nth(TAGS.index("images")).locator(".opblock-summary-description")
    assert await images.all_inner_texts() == IMAGES


async def tag_of(section: Locator) -> str | None:
    """The name of a section."""
    return await section.locator(".opblock-tag").get_attribute("data-tag")


async def place_of(block: Locator) -> tuple[bool, int]:
    """True for a deprecated operation, and the step of a resource's life that it is."""
    method = await block.locator(".opblock-summary-method").inner_text()
    path = await block.locator("[data-path]").first.get_attribute("data-path") or ""
    one = "{" in path
    steps = {"GET": "get" if one else "list", "POST": "change" if one else "create"}
    step = (steps | {"DELETE": "delete"}).get(method, "change")
    deprecated = "opblock-deprecated" in (await block.get_attribute("class") or "")
    return deprecated, STEPS.index(step)


async def test_the_page_of_a_problem_can_be_read(page: Page) -> None:
    """Its style is applied under its own policy, and it leads to the operations."""
    await page.goto("/problems/no-file")
    await expect(page.get_by_role("heading")).to_have_text("The form has no file")
    await expect(page.locator("h1")).to_have_css("margin-bottom", "0px")
    await page.get_by_role("link").click()
    await expect(page.locator(".opblock").first).to_be_visible()


async def test_the_watch_notices(browser: Browser, instance: Instance) -> None:
    """The control of all tests above: a page that breaks its policy and asks another host."""
    async with await browser.new_context() as context:
        page = await context.new_page()
        watch = Watch(page, instance.url)
        await page.goto(f"{instance.url}/problems/no-file")
        assert (watch.errors, watch.elsewhere) == ([], [])
        await page.evaluate("document.body.innerHTML += '<b style=color:red>refused</b>'")
        other = f"http://localhost:{instance.port}/docs/start.js"
        await page.goto(other)
    assert watch.errors
    assert other in watch.elsewhere
