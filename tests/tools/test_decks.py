import nbformat
import pytest

from tools import decks, notebooks

pytest_plugins = ["lab"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


@pytest.fixture
def lesson():
    """A notebook as it ran: a title, goals, a section with two pictures, a summary, and a part that is optional."""
    pictures = [
        nbformat.v4.new_output("display_data", {"image/png": data, "text/plain": ""}) for data in (PIXEL, PIXEL)
    ]
    cells = [
        markdown("[![Open In Colab](https://colab.example/badge.svg)](https://colab.example)"),
        markdown("# Noise & <b>signal</b>\n\nWhat is *noise*?\n\n![A picture](../docs/pictures/a.jpg)"),
        markdown("## You will\n\n- see it,\n- name it.\n\n**Time:** 10 minutes."),
        markdown("## Look\n\nA [number](../docs/glossary.md) says how much.\n\nMore words.\n\n*Predict*: who wins?"),
        code("show()", outputs=pictures),
        markdown("**Exercise.** Count them."),
        code('found = ...\nexercises.check("x.y", found)'),
        markdown("## More: odd things\n\nNot in an hour."),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_section_of_the_core_is_a_slide_with_its_last_picture_and_its_tasks(lesson):
    title, goals, look = decks.sections(lesson)
    assert (title["heading"], look["heading"]) == ("Noise & <b>signal</b>", "Look")
    assert look["picture"][0] == f"data:image/png;base64,{PIXEL}" and goals["picture"] is None
    deck = decks.slides(lesson)
    assert deck.count("<section>") == 3 and "Noise &amp; &lt;b&gt;signal" in deck
    assert "A number says how much." in deck and "who wins?" in deck and "Count them." in deck
    assert "More words." not in deck and "odd things" not in deck and "../docs" not in deck


def test_the_handout_asks_and_explains(lesson):
    page = decks.handout(lesson, "03", [("loss", "How wrong *it* was.")])
    assert "<li><p>Who wins?</p>" in page and "<li><p>Count them.</p>" in page
    assert "<dt>loss</dt>" in page and "<em>it</em>" in page and "see it," in page


@pytest.mark.slow
def test_every_handout_prints_on_one_sheet_and_every_deck_fits_a_phone(tmp_path, browser):
    ran = [(path.stem, notebooks.read(path)) for path in notebooks.paths()]
    decks.write(ran, tmp_path)
    page = browser.new_page(viewport={"width": 360, "height": 740})
    for stem, _ in ran:
        page.goto((tmp_path / "slides" / f"{stem}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, stem
        page.goto((tmp_path / "handouts" / f"{stem}.html").as_uri())
        sheets = page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
        assert sheets == 1, stem
    page.close()


def test_arrow_keys_lead_through_a_deck(lesson, tmp_path, browser):
    (tmp_path / "deck.html").write_text(decks.slides(lesson), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto((tmp_path / "deck.html").as_uri())
    for key, place in (("ArrowRight", 1), (" ", 2), ("ArrowRight", 2), ("PageUp", 1)):
        page.keyboard.press(key)
        page.wait_for_function(
            f"Math.abs(document.querySelectorAll('section')[{place}].getBoundingClientRect().top) < 2"
        )
    page.close()
