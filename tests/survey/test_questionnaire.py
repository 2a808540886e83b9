"""The questionnaire in a real browser, and the import of what it saves."""

import csv
import json
import re

import pytest

from helpers import survey
from helpers.survey import design, questionnaire

pytest_plugins = ["lab"]


@pytest.fixture(scope="module")
def asked(study, tmp_path_factory):
    """The page, the key and the plan."""
    return questionnaire.write(tmp_path_factory.mktemp("page") / "page.html", *study), *study[:2]


def test_the_page_needs_nothing_and_names_no_method(asked):
    """What hides in its pictures is looked for in test_exports.py."""
    text = asked[0].read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|\bsrc=", text)
    words = re.sub(r"base64,[\w+/=]+", "", text)
    assert not re.search(r"\bbase\b|hyper.?net|dreambooth|amir|\.png", words, re.IGNORECASE)
    for value in json.loads(re.search(r'json">(.*?)</script>', text)[1])["pictures"].values():
        assert set(value) == {"image", "prompt", "references"}


def test_five_languages_have_the_same_entries_and_gaps_and_tell_two_pictures_apart():
    languages = questionnaire.interface()
    assert set(languages) == {"en", "es", "ar", "fr", "zh"} and languages["ar"]["direction"] == "rtl"
    for words in languages.values():
        for name, text in words.items():
            assert text.strip() and text.count("{") == languages["en"][name].count("{")
        assert len({*questionnaire.picture_alts(words, 2), *questionnaire.picture_alts(words, 1)}) == 3


def test_a_language_that_lacks_words_is_named(tmp_path):
    path = tmp_path / "interface.json"
    path.write_text('{"en": {"next": "Next", "yes": "Yes"}, "eo": {"next": "Sekva"}}')
    with pytest.raises(ValueError, match="'eo'.*yes"):
        questionnaire.interface(path)


def wanted(plan, rater, at, shift):
    """What to answer on the screen `at` (from 0): rows item, question, value, position."""
    kind, item = plan[plan["rater"] == rater].iloc[at][["kind", "item"]]
    values = {question: design.QUESTIONS[question] for question in design.KINDS[kind]}
    return [(item, name, options[(at + shift) % len(options)], str(at + 1)) for name, options in values.items()]


def focused(page, name):
    """An attribute of the element that has the focus."""
    return page.evaluate(f"document.activeElement.{name}")


def answer_by_keys(page, rows):
    """Tab to each question, Space and the arrows to choose, Tab to the button, Enter."""
    assert focused(page, "tagName") == "H1"
    for _, question, value, _ in rows:
        page.keyboard.press("Tab")
        assert focused(page, "name") == question
        page.keyboard.press("Space")
        for _ in range(design.QUESTIONS[question].index(value)):
            page.keyboard.press("ArrowDown")
        assert focused(page, "value") == value and focused(page, "checked")
    if rows[0][1] == "satisfied":
        page.keyboard.press("Tab")
        assert focused(page, "id") == "comment"
    page.keyboard.press("Tab")
    assert focused(page, "type") == "submit"
    page.keyboard.press("Enter")


def open_page(browser, **settings):
    context = browser.new_context(accept_downloads=True, **settings)
    context.set_default_timeout(20_000)
    return context.new_page()


def saved(page, path, plan, key, press):
    """What the file and then the import have of the answers, after pressing the button that saves."""
    with page.expect_download() as waiting:
        press()
    waiting.value.save_as(path)
    with open(path, encoding="utf-8", newline="") as file:
        told = [(row["item"], row["question"], row["value"], row["position"]) for row in csv.DictReader(file)]
    answers = survey.answers.read_answers([path], key, study=questionnaire.study_id(plan, key))
    assert answers.table["respondent"].nunique() == 1
    found = answers.table[["item", "question", "value", "position"]].astype(str)
    return sorted(told), sorted(found.itertuples(index=False, name=None)), list(answers.odd["problem"])


@pytest.mark.slow
def test_it_can_be_filled_in_by_keys_alone(asked, browser, tmp_path):
    address, key, plan = asked
    page, expected = open_page(browser, viewport={"width": 1000, "height": 700}), []
    page.goto(address.as_uri())  # no click, no focus set by a script
    page.wait_for_selector("h1")
    assert focused(page, "tagName") == "H1"
    page.keyboard.press("Shift+Tab")
    for code in ("es", "ar", "fr"):
        assert focused(page, "id") == "language"
        page.keyboard.press("ArrowDown")
        page.wait_for_function(f"document.documentElement.lang === '{code}'")
    page.keyboard.press("Tab")
    assert focused(page, "id") == "number"
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    for at in range(len(plan[plan["rater"] == 2])):
        alts = page.locator(".pictures img").evaluate_all("pictures => pictures.map(picture => picture.alt)")
        assert len(set(alts)) == len(alts) and all(alts)  # the two of a pair sound different
        rows = wanted(plan, 2, at, 1)
        answer_by_keys(page, rows)
        expected += rows
    page.keyboard.press("Tab")
    assert focused(page, "id") == "download"
    told, found, odd = saved(page, tmp_path / "keys.csv", plan, key, lambda: page.keyboard.press("Enter"))
    assert told == found == sorted(expected) and not odd


@pytest.mark.slow
def test_on_a_phone_in_arabic_a_closed_tab_loses_nothing(asked, browser, tmp_path):
    address, key, plan = asked
    page = open_page(browser, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page.goto(address.as_uri())
    page.select_option("#language", "ar")
    page.fill("#number", "99")
    page.locator("button[type=submit]").tap()
    assert str(plan["rater"].max()) in page.locator("#alert").inner_text()
    page.fill("#number", "3")
    page.locator("button[type=submit]").tap()
    assert page.evaluate("document.documentElement.dir") == "rtl"
    page.locator("button[type=submit]").tap()
    assert page.locator("#alert").inner_text()  # nothing answered yet
    formula = '=HYPERLINK("x"), "so, so"'
    page.fill("#comment", formula)
    expected, screens = [], len(plan[plan["rater"] == 3])
    for at in range(screens):
        rows = wanted(plan, 3, at, 2)
        for _, question, value, _ in rows:
            page.locator(f"input[name={question}][value='{value}']").check()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        if at == screens // 2:
            page.close()
            page = page.context.new_page()
            page.goto(address.as_uri())
            page.wait_for_selector("input:checked")
            assert page.locator("input:checked").count() > 0  # the half-answered screen is as it was left
        page.locator("button[type=submit]").tap()
        expected += rows
    said = (expected[0][0], "comment", formula, "1")
    told, found, odd = saved(page, tmp_path / "phone.csv", plan, key, page.locator("#download").tap)
    assert found == sorted([*expected, said]) and "begins like a formula" in odd[0] and len(odd) == 1
    assert told == sorted([*expected, (*said[:2], "'" + formula, "1")])


def begin(page, address, number="1"):
    page.goto(address.as_uri())
    page.fill("#number", number)
    page.click("button[type=submit]")


def answer_all(page, screens, shift=0):
    """Answers every question of so many screens with one of its answers."""
    for _ in range(screens):
        for group in page.locator("fieldset").all():
            group.locator("input").nth(shift).check()
        page.click("button[type=submit]")


def respondents(page):
    """{respondent: how many answers} that the browser remembers."""
    script = (
        "Object.values(localStorage).map(text => JSON.parse(text)).map(one => [one.respondent, one.answers.length])"
    )
    return dict(page.evaluate(script))


@pytest.mark.slow
def test_nobody_begins_anew_over_answers_that_were_not_saved(asked, browser, tmp_path):
    address, key, plan = asked
    page, screens, questions = open_page(browser), len(plan[plan["rater"] == 1]), []
    begin(page, address)
    answer_all(page, screens)
    (before,) = respondents(page).items()
    page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    page.click("#again")
    assert questions == [questionnaire.interface()["en"]["discard"]]
    assert respondents(page) == dict([before]) and page.locator("#download").count()
    _, found, _ = saved(page, tmp_path / "kept.csv", plan, key, lambda: page.click("#download"))
    assert len(found) == before[1]
    page.click("#again")  # now it is saved: no question
    page.wait_for_selector("#number")
    assert list(respondents(page).values()) == [0] and before[0] not in respondents(page)
    begin(page, address)
    answer_all(page, screens)
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#again")
    page.wait_for_selector("#number")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_storage_that_fills_midway_is_said_at_once_and_the_page_not_closed_unasked(
    asked, browser, tmp_path, language
):
    address, key, plan = asked
    page, screens, asked_for = open_page(browser), len(plan[plan["rater"] == 1]), []
    page.goto(address.as_uri())
    page.select_option("#language", language)
    page.fill("#number", "1")
    page.click("button[type=submit]")
    answer_all(page, 2)
    assert page.locator("#memory").is_hidden()
    page.evaluate("for (let size = 2 ** 22; size >= 1; size /= 2) try { while (true) localStorage.setItem('x' + Math.random(), 'x'.repeat(size)) } catch {}")  # fmt: skip
    answer_all(page, 1)
    assert page.locator("#memory").inner_text() == questionnaire.interface()[language]["no_memory"]
    page.on("dialog", lambda dialog: (asked_for.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.wait_for_timeout(300)
    assert asked_for == ["beforeunload"] and not page.is_closed()
    answer_all(page, screens - 3)
    assert page.locator("#memory").is_visible()  # on the last screen too
    _, found, odd = saved(page, tmp_path / "full.csv", plan, key, lambda: page.click("#download"))
    assert {int(position) for *_, position in found} == set(range(1, screens + 1)) and not odd


@pytest.mark.slow
def test_every_tab_has_its_own_respondent_and_a_closed_one_is_taken_up_again(asked, browser):
    address = asked[0]
    first = open_page(browser)
    begin(first, address)
    answer_all(first, 2)
    second = first.context.new_page()
    begin(second, address, "2")
    answer_all(second, 1, shift=1)
    answer_all(first, 1)
    counts = respondents(first)
    assert len(counts) == 2 and len(set(counts.values())) == 2  # neither wrote over the other
    for page in (first, second):
        before = page.locator("h1").inner_text()
        page.reload()
        page.wait_for_selector("header h1")
        assert page.locator("h1").inner_text() == before and respondents(page) == counts
    words = first.locator("h1").inner_text()
    first.close()
    third = second.context.new_page()
    third.goto(address.as_uri())
    third.wait_for_selector("header h1")
    assert third.locator("h1").inner_text() == words and respondents(third) == counts


@pytest.mark.slow
def test_without_locks_as_on_http_tabs_are_told_apart_too(asked, browser):
    address = asked[0]
    first = open_page(browser)
    first.context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })")
    begin(first, address)
    answer_all(first, 2)
    second = first.context.new_page()
    begin(second, address, "2")
    answer_all(second, 1)
    assert len(respondents(first)) == 2
    words = first.locator("h1").inner_text()
    first.close()
    third = second.context.new_page()
    third.goto(address.as_uri())
    third.wait_for_selector("header h1")
    assert third.locator("h1").inner_text() == words and len(respondents(third)) == 2
