"""The questionnaire in a real browser, and the import of what it saves."""

import base64
import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import questionnaire, survey_design, survey_import

pytest_plugins = ["lab"]

METHODS = ("base", "hypernetwork", "DreamBooth")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small study: three prompts, six raters; every picture carries its method in name and metadata."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    rows = []
    for number in range(3):
        for method in METHODS:
            path = folder / f"{method}-{number}.png"
            image = Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8))
            image.info["comment"] = method
            exif = image.getexif()
            exif[0x010E] = method
            image.save(path, exif=exif)
            words = f"</script>a <b>man</b> & {number}"
            place = {"prompt_id": f"hypernetwork_{number}", "prompt": words, "subject": "amir"}
            rows.append(place | {"method": method, "file": path})
    key = survey_design.make_key(pd.DataFrame(rows), 4)
    plan = survey_design.make_plan(key, 6, prompts=2, pairs=2, duplicates=1, seed=4)
    page = questionnaire.write(folder / "page.html", key, plan, {"amir": [rows[0]["file"]]})
    return page, key, plan


def test_the_page_needs_nothing_and_names_no_method(study):
    text = study[0].read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|\bsrc=", text)
    unpacked = re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    assert not re.search(r"\bbase\b|hyper|dreambooth|amir|\.png", unpacked, re.IGNORECASE)
    for value in json.loads(re.search(r'json">(.*?)</script>', text)[1])["pictures"].values():
        assert set(value) == {"image", "prompt", "references"}


def test_pictures_keep_their_pixels_and_lose_all_else(study):

    for path in study[1]["file"]:
        data = base64.b64decode(questionnaire.embed(path).split(",")[1])
        assert not any(method.encode() in data for method in METHODS) and b"EXIF" not in data
        assert any(method.encode() in path.read_bytes() for method in METHODS)


def test_five_languages_have_the_same_entries_and_gaps():
    languages = questionnaire.interface()
    assert set(languages) == {"en", "es", "ar", "fr", "zh"}
    for words in languages.values():
        for name, text in words.items():
            assert text.strip() and text.count("{") == languages["en"][name].count("{")
    assert languages["ar"]["direction"] == "rtl"


def test_the_two_pictures_of_a_pair_sound_different_in_every_language():
    for code, words in questionnaire.interface().items():
        left, right = questionnaire.picture_alts(words, 2)
        assert len({left, right, *questionnaire.picture_alts(words, 1)}) == 3, code
    template = questionnaire.TEMPLATE.read_text(encoding="utf-8")
    assert '["left_alt", "right_alt"][side]' in template and "codes.map(picture)" in template


def test_the_welcome_holds_for_pairs_too():
    for words in questionnaire.interface().values():
        assert not re.search("one at a time|una en una|واحدة تلو|une par une|逐张", words["welcome"])


def test_a_language_that_lacks_words_is_named(tmp_path):
    path = tmp_path / "interface.json"
    path.write_text(json.dumps({"en": {"next": "Next", "yes": "Yes"}, "eo": {"next": "Sekva"}}))
    with pytest.raises(ValueError, match="'eo'.*yes"):
        questionnaire.interface(path)


ASKED = {"rate": ["satisfied", "likeness", "match"], "pair": ["pair"], "attention": ["attention"]}


def wanted(plan, rater, at, choose):
    """What to answer on the screen `at` (from 0): rows item, question, value, position."""
    kind, item = plan[plan["rater"] == rater].iloc[at][["kind", "item"]]
    values = {question: survey_design.QUESTIONS[question] for question in ASKED[kind]}
    return [(item, name, options[choose(at) % len(options)], str(at + 1)) for name, options in values.items()]


def answer(page, plan, rater, at, choose):
    """Answer the screen `at` with the mouse and return the rows that the file must have for it."""
    rows = wanted(plan, rater, at, choose)
    for _, question, value, _ in rows:
        page.locator(f"input[name={question}][value='{value}']").check()
    return rows


def focused(page, name):
    """An attribute of the element that has the focus."""
    return page.evaluate(f"document.activeElement.{name}")


def begin_by_keys(page, address, rater, language):
    """From the heading back to the language, on to the number, and in: no click, no focus set by a script."""
    page.goto(address)
    assert focused(page, "tagName") == "H1"
    page.keyboard.press("Shift+Tab")
    for code in list(questionnaire.interface())[1:]:
        assert focused(page, "id") == "language"
        page.keyboard.press("ArrowDown")
        page.wait_for_function(f"document.documentElement.lang === '{code}'")
        if code == language:
            break
    page.keyboard.press("Tab")
    assert focused(page, "id") == "number"
    page.keyboard.type(str(rater))
    page.keyboard.press("Enter")


def answer_by_keys(page, plan, rater, at, choose):
    """Tab to each question, Space and the arrows to choose, Tab to the button, Enter; returns the file's rows."""
    assert focused(page, "tagName") == "H1"
    rows = wanted(plan, rater, at, choose)
    for _, question, value, _ in rows:
        page.keyboard.press("Tab")
        assert focused(page, "name") == question
        page.keyboard.press("Space")
        for _ in range(survey_design.QUESTIONS[question].index(value)):
            page.keyboard.press("ArrowDown")
        assert focused(page, "value") == value and focused(page, "checked")
    if rows[0][1] == "satisfied":
        page.keyboard.press("Tab")
        assert focused(page, "id") == "comment"
    page.keyboard.press("Tab")
    assert focused(page, "type") == "submit"
    page.keyboard.press("Enter")
    return rows


def begin(page, address, rater, language="en"):
    page.goto(address)
    page.select_option("#language", language)
    page.fill("#number", str(rater))
    page.click("button[type=submit]")


def save(page, path, by_keys=False):
    with page.expect_download() as waiting:
        if by_keys:
            page.keyboard.press("Tab")
            assert focused(page, "id") == "download"
            page.keyboard.press("Enter")
        else:
            page.click("#download")
    waiting.value.save_as(path)
    return path


def told(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["item"], row["question"], row["value"], row["position"]) for row in csv.DictReader(file)]


def open_page(browser, asked, **settings):
    context = browser.new_context(accept_downloads=True, **settings)
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    return context, page


@pytest.mark.slow
def test_three_raters_fill_it_in_and_the_import_finds_exactly_that(study, browser, tmp_path):
    page_file, key, plan = study
    address, asked, expected = page_file.as_uri(), [], {}
    screens = len(plan[plan["rater"] == 1])

    context, page = open_page(browser, asked, viewport={"width": 1200, "height": 800})  # with the mouse
    begin(page, address, 99)
    assert "6" in page.locator("#alert").inner_text()
    begin(page, address, 1)
    page.click("button[type=submit]")
    assert page.locator("#alert").inner_text()  # nothing answered yet
    rows = []
    for at in range(screens):
        rows += answer(page, plan, 1, at, lambda at: at)
        if at == 0:
            page.fill("#comment", '=HYPERLINK("x"), "so, so"')
            rows.append((rows[0][0], "comment", '=HYPERLINK("x"), "so, so"', "1"))
        page.click("button[type=submit]")
    expected["mouse.csv"] = rows
    save(page, tmp_path / "mouse.csv")
    context.close()

    context, page = open_page(browser, asked, viewport={"width": 1000, "height": 700})  # by keys, in French
    begin_by_keys(page, address, 2, "fr")
    rows = []
    for at in range(screens):
        alts = page.locator(".pictures img").evaluate_all("pictures => pictures.map(picture => picture.alt)")
        assert len(set(alts)) == len(alts) and all(alts)  # the two of a pair sound different
        rows += answer_by_keys(page, plan, 2, at, lambda at: at + 1)
    expected["keys.csv"] = rows
    save(page, tmp_path / "keys.csv", by_keys=True)
    context.close()

    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    context, page = open_page(browser, asked, **phone)  # in Arabic, with the tab closed half-way
    begin(page, address, 3, "ar")
    assert page.evaluate("document.documentElement.dir") == "rtl"
    rows = []
    for at in range(screens):
        rows += answer(page, plan, 3, at, lambda at: at + 2)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        if at == screens // 2:
            page.close()
            page = context.new_page()
            page.goto(address)
            assert page.locator("input:checked").count() > 0  # the half-answered screen is as it was left
        page.locator("button[type=submit]").tap()
    expected["phone.csv"] = rows
    save(page, tmp_path / "phone.csv")
    context.close()

    assert all(re.match(r"file:|data:|blob:", url) for url in asked)
    paths = [tmp_path / name for name in expected]
    for path in paths:
        assert sorted(told(path)) == sorted(
            (i, q, "'" + v if v[0] == "=" else v, p) for i, q, v, p in expected[path.name]
        )
    answers = survey_import.read_answers(paths, key, study=questionnaire.study_id(plan, key))
    assert list(answers.odd["problem"]) == ["the comment begins like a formula: kept as plain text"]
    assert answers.table["respondent"].nunique() == 3
    found = sorted(zip(*(answers.table[name].astype(str) for name in ("item", "question", "value", "position"))))
    assert found == sorted(row for rows in expected.values() for row in rows)
