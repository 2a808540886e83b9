"""The course site: what becomes of a notebook and of the documents, and two executed notebooks built by Sphinx, in a browser."""

import base64
import io
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from helpers import machine, show
from tools import notebooks, website

pytest_plugins = ["lab"]
STAMPED = "https://raw.githubusercontent.com/school.org/course/main/docs/pictures/07_compare.jpg"  # as on Colab


def png(color, size=(40, 20), mode="RGB"):
    data = io.BytesIO()
    Image.new(mode, size, color).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def code(source, **data):
    kinds = {"png": "image/png", "html": "text/html", "text": "text/plain"}
    kinds["widget"] = "application/vnd.jupyter.widget-view+json"
    output = new_output("display_data", {kinds[kind]: value for kind, value in data.items()})
    return new_code_cell(source, outputs=[output])


@pytest.fixture
def notebook():
    """One cell of each kind, with every kind of output."""
    stream = new_output("stream", text="\x1b[31mred\x1b[0m <b>\n")
    cells = [
        new_markdown_cell("[![badge](https://example.org/badge.svg)](https://example.org)"),
        new_markdown_cell("# Title\n\nThe price is $5, and `$PATH$` stays. The noise is `noise`."),
        new_code_cell("print(1)", outputs=[stream]),
        code("a = 1\nplots.image_grid(<rows>)", png=png("red"), text="<Image>"),
        code("table", html="<table><tr><td>cell</td></tr></table>", text="table"),
        code("widgets.Rater(1)", widget={"model_id": "1"}, text="Rater(children=(HTML(value=''),))"),
        code("crop", widget={"model_id": "1"}, text="<helpers.photos.editors.CropEditor object at 0x7f>"),
        code("box", widget={"model_id": "1"}, text="VBox()"),
        code("for step in tqdm(steps): ...", widget={"model_id": "1"}, text="  0%|          | 0/20"),
        code("1 < 2", text="True & <so>"),
        new_markdown_cell("![picture](../docs/pictures/07_compare.jpg)"),
        new_markdown_cell(f"![picture]({STAMPED}) and the [words](https://github.com/a/b/blob/main/docs/glossary.md)"),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def test_a_notebook_becomes_one_that_needs_no_kernel_and_no_network(notebook):
    nbformat.validate(notebook)
    shown = website.page(notebook, ["noise", "weight"])
    text = "\n".join(cell.source for cell in shown.cells if cell.cell_type == "markdown")
    assert "badge" not in text and "https:" not in text and text.count("](../docs/") == 3
    assert "The {term}`noise <noise>` is `noise`." in text, "the first of a word, and no code"
    cells = {cell.source: cell for cell in shown.cells}
    grid = cells["a = 1\nplots.image_grid(<rows>)"]
    assert grid.metadata["mystnb"]["image"]["alt"] == "The price is $5, and $PATH$ stays. The noise is noise."
    assert "10_rater.jpg" in cells["widgets.Rater(1)"].outputs[0]["data"]["text/markdown"]
    assert "01_crop_widget.jpg" in cells["crop"].outputs[0]["data"]["text/markdown"]
    assert cells["box"].outputs[0]["data"]["text/markdown"].startswith("Here stands a widget")
    assert cells["for step in tqdm(steps): ..."].outputs == [], "a progress bar tells nothing any more"


def test_a_figure_without_a_ground_gets_a_white_one_and_a_large_one_gets_small():
    noise = Image.effect_noise((300, 300), 80).convert("RGB")
    data = io.BytesIO()
    noise.save(data, "PNG")
    large = code("figure", png=base64.b64encode(data.getvalue()).decode()).outputs[0]
    shown = website.show(large)
    assert set(shown["data"]) == {"image/jpeg"} and len(shown["data"]["image/jpeg"]) < len(data.getvalue())
    assert notebooks.on_white(png((0, 0, 0, 0), mode="RGBA")).getpixel((3, 3)) == (255, 255, 255)


def test_of_a_glossary_sphinx_makes_words_that_can_be_linked(tmp_path):
    path = tmp_path / "glossary.md"
    path.write_text((machine.REPO / "docs" / "glossary.md").read_text(encoding="utf-8"), encoding="utf-8")
    terms, text = website.glossary(path), path.read_text(encoding="utf-8")
    assert len(terms) == len(set(terms)) > 50 and "|" not in text and "\nseed\n  A number" in text
    linked = {"seed", "class word", "word"}
    words = (
        "# A seed\n\nA `seed` is no seed-box, [a seed](x.md) neither; these seeds are, and no other seed. A class word."
    )
    assert website.link(words, linked).endswith(
        "these {term}`seeds <seed>` are, and no other seed. A {term}`class word <class word>`."
    )
    assert linked == {"word"}


def test_the_last_picture_of_the_tagged_cell_is_kept_small_and_without_metadata(tmp_path):
    last = code("look()", png=png("red", (3000, 1500)))
    last.outputs.insert(0, new_output("display_data", {"image/png": png("blue")}))
    last.metadata["tags"] = [notebooks.OPENING]
    executed = new_notebook(cells=[code("other()", png=png("green")), last])
    notebooks.keep_picture(executed, tmp_path / "07_compare.jpg")
    image = Image.open(tmp_path / "07_compare.jpg")
    assert image.size == (1000, 500) and not image.getexif()
    assert image.getpixel((500, 250))[0] > 250 and image.getpixel((500, 250))[2] < 5
    last.outputs = [new_output("display_data", {"image/png": png((0, 0, 0, 0), mode="RGBA")})]
    notebooks.keep_picture(executed, tmp_path / "clear.jpg")
    assert Image.open(tmp_path / "clear.jpg").getpixel((3, 3)) == (255, 255, 255), "a figure without a ground"
    last.outputs = []
    notebooks.keep_picture(executed, tmp_path / "11_read_the_study.jpg")
    assert not (tmp_path / "11_read_the_study.jpg").exists()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of two executed notebooks among all others, with every warning of Sphinx an error."""
    pytest.importorskip("sphinx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "RUNS", tmp_path_factory.mktemp("runs"))
        yield small_site(tmp_path_factory.mktemp("site"))


def small_site(folder):
    """A folder with the site in it; returns the folder."""
    (folder / "executed").mkdir()
    for path in notebooks.paths()[:2]:
        notebook = notebooks.read(path)
        for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.execution_count = number + 1
            cell.outputs = code(cell.source, png=png("red", (40, 20 + number)), text="<Image>").outputs
        cell.outputs = code(
            "film", html=show.flipbook([Image.new("RGB", (8, 8))] * 2, ["one", "two"], "step").data
        ).outputs
        nbformat.write(notebook, folder / "executed" / path.name)
    website.build(folder / "executed", folder, "-W", "--keep-going")
    return folder


@pytest.mark.slow
def test_no_link_of_the_site_leads_nowhere_and_every_picture_has_words(site):
    pages = [page for page in (site / "site").rglob("*.html") if "_static" not in page.parts]
    assert len(pages) > 20 and "site/index.html" in (site / "index.html").read_text(encoding="utf-8")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        links = re.findall(r'<(?:a|link)[^>]*\shref="([^"#]+)', text) + re.findall(
            r'<(?:img|script)[^>]*\ssrc="([^"]+)', text
        )
        inside = [link.split("?")[0] for link in links if not re.match(r"https?:|data:|mailto:", link)]
        assert [link for link in inside if not (page.parent / link).exists()] == [], page.name
        assert not re.search(r'<img(?![^>]* alt="[^"]+")', text.partition("<article")[2].partition("</article>")[0]), (
            page.name
        )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_a_phone_and_ask_nobody(site, browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page, asked, errors = context.new_page(), [], []
    page.set_default_timeout(120_000)  # a busy machine
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "index.html").as_uri())
    page.get_by_role("heading", name="From photos to portraits").wait_for()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 384) == (scheme == "dark")
    page.get_by_role("slider", name="step").press("End")
    page.get_by_text("two", exact=True).wait_for()  # the film is alive
    for name in ("index", f"notebooks/{notebooks.paths()[1].stem}", "docs/glossary", "docs/measured", "README"):
        page.goto((site / "site" / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(CONTRAST) == [], name
    assert not errors
    page.goto((site / "site" / "search.html").as_uri() + "?q=timestep")
    page.locator("#search-results li a").first.wait_for()  # without the excerpts, which a page from disk may not fetch
    assert all(re.match(r"file:|data:", url) for url in asked)
    context.close()


CONTRAST = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number)
  const light = (color) => {
    const [r, g, b] = parts(color).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ground = (node) => {
    while (node && (parts(getComputedStyle(node).backgroundColor)[3] ?? 1) === 0) node = node.parentElement
    return node ? getComputedStyle(node).backgroundColor : "rgb(255, 255, 255)"
  }
  const found = new Set()
  for (const node of document.querySelectorAll("article pre, article pre span, article code, figcaption, article p, article td")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x)
    if ((a + 0.05) / (b + 0.05) < 4.5) found.add(`${node.className} ${node.textContent.slice(0, 20)} ${getComputedStyle(node).color}`)
  }
  return [...found]
}"""  # what of a page's code and words stands out from its ground by less than 4.5
