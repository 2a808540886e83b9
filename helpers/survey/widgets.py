"""Rating pictures and coding comments in the notebook itself. Core ipywidgets only, 7 or 8, so Colab shows them too.

Comments are coded by hand, by two people who do not see each other's codes; here is also how far they agree.
"""

import html
import secrets
import time

import ipywidgets as widgets
import pandas as pd
from IPython.display import display

from helpers import machine
from helpers.survey import design, figures, questionnaire, simulation, statistics
from helpers.survey.answers import write_table

COLUMNS = ["study", "respondent", "item", "question", "value", "position", "duration_s"]
ALERT = '<p role="alert" style="color:#a8281c;font-weight:600">{}</p>'
CODES = {  # one a comment: what it is mostly about
    "likeness": "whether it is the person in the photos",
    "words": "whether the picture shows what the words say",
    "look": "style, colours, beauty, sharpness",
    "fault": "something broken: eyes, hands, things that grow where they should not",
    "other": "anything else, or nothing to be made of it",
}


def _html(element, words):
    """Words of the interface as an element in the direction of their own script."""
    return f'<{element} dir="auto">{html.escape(words)}</{element}>'


def _picture(path, words, side):
    """An img element with a text alternative, which widgets.Image does not have."""
    style = f"width:{side}px;max-width:100%"
    return f'<img src="{questionnaire.embed(path, side)}" alt="{html.escape(words)}" style="{style}">'


class Rater(widgets.VBox):
    """One rater's way through a plan, screen by screen; every answer is on disk before the next screen comes.

    key, plan, references: as for questionnaire.write; rater: a number of the plan; path: CSV in the questionnaire's
    own format, read again by another widget on the same file, so a restarted kernel goes on where it was left.
    """

    def __init__(self, key, plan, rater, path, references, language="en", side=256):
        super().__init__()
        self.words = questionnaire.interface()[language]
        self.pictures = key.set_index("item").to_dict("index")
        self.screens = plan[plan["rater"] == rater][["kind", "item"]].values.tolist()
        if not self.screens:
            raise ValueError(f"The plan has no rater {rater}: choose 1 to {plan['rater'].max()}.")
        self.path, self.references, self.side, self.answers = path, references, side, []
        self.study = questionnaire.study_id(plan, key)
        if path.exists():
            kept = pd.read_csv(path, dtype={"study": str}, keep_default_na=False)
            kept["value"] = [machine.as_text(value, back=True) for value in kept["value"]]
            self.answers = kept.to_dict("records")
        if {row["study"] for row in self.answers} - {self.study}:
            raise ValueError(f"The file {path} has answers to another plan: move it away, then begin.")
        self.respondent = self.answers[0]["respondent"] if self.answers else "r" + secrets.token_hex(5)
        self.at = max((row["position"] for row in self.answers), default=0)
        self.show()

    def show(self):
        """Put the next screen up, or the thanks after the last."""
        self.questions = {}
        if self.at >= len(self.screens):
            self.children = [widgets.HTML(_html("h3", f"{self.words['thanks']} {self.path.name}"))]
            return
        kind, item = self.screens[self.at]
        photos = self.references.get(self.pictures.get(item.split("+")[0], {}).get("subject"), [])
        self.comment = widgets.Textarea(placeholder=self.words["comment"], layout={"width": "28em"})
        self.comment.continuous_update = False  # sent when the field is left, so before the button's press
        self.next = widgets.Button(description=self.words["next"], button_style="primary")
        self.next.on_click(lambda _: self.keep())
        self.alert, parts = widgets.HTML(), [widgets.HTML(self._context(kind, item, photos))]
        for name in design.questions(kind, photos):
            options = [(words, value) for value, words in design.choices(name, self.words).items()]
            self.questions[name] = widgets.RadioButtons(options=options, value=None, layout={"width": "auto"})
            parts += [widgets.HTML(_html("b", self.words[name])), self.questions[name]]
        self.children = [*parts, *([self.comment] if kind == "rate" else []), self.alert, self.next]
        self.began = time.monotonic()

    def _context(self, kind, item, photos):
        """What stands above the questions: how far we are, the words, the photos, the picture or two."""
        words = self.words
        parts = [_html("h3", words["progress"].format(self.at + 1, len(self.screens)))]
        if kind == "attention":
            return parts[0]
        pictures = [self.pictures[code] for code in item.split("+")]
        prompt = html.escape(pictures[0]["prompt"])
        parts += [_html("p", words["prompt"]), f'<blockquote lang="en">{prompt}</blockquote>']
        if photos:
            people = [_picture(photo, words["reference_alt"], 96) for photo in photos]
            parts += [_html("p", words["reference"]), "<div>", *people, "</div>"]
        alts = questionnaire.picture_alts(words, len(pictures))
        shown = [_picture(picture["file"], alt, self.side) for picture, alt in zip(pictures, alts)]
        return "\n".join([*parts, '<div dir="ltr" style="margin:8px 0">', *shown, "</div>"])

    def keep(self):
        """Keep this screen's answers on disk and go on; says so and stays if one is missing or the disk is full."""
        given = {name: box.value for name, box in self.questions.items()}
        if None in given.values():
            self.alert.value = ALERT.format(html.escape(self.words["missing"]))
            return
        if self.comment.value.strip():
            given["comment"] = self.comment.value.strip()[:500]
        item, seconds = self.screens[self.at][1], round(time.monotonic() - self.began, 1)
        rows = [(self.study, self.respondent, item, *pair, self.at + 1, seconds) for pair in given.items()]
        answers = [*self.answers, *(dict(zip(COLUMNS, row)) for row in rows)]
        try:
            write_table(self.path, pd.DataFrame(answers).astype({"value": str}))
        except OSError:  # a full disk; a raised error would not be seen below a widget
            self.alert.value = ALERT.format(html.escape(self.words["not_written"].replace("{0}", str(self.path))))
            return
        self.answers, self.at = answers, self.at + 1
        self.show()


class Annotator(widgets.VBox):
    """One person's way through items that all have the same question; every answer is on disk at once.

    items: {item: HTML that shows it}, in the order in which they come; answers: {answer: words on its button}; given:
    {item: answer} of an earlier sitting, so that it goes on at the first item without one. path: the CSV; columns:
    {name: what it says in every row, or None for that of the item and, after it, that of the answer}.
    "back" shows the item before with its answer, which another one replaces. Tab and Space reach every button.
    """

    def __init__(self, items, answers, given, path, columns, *, noun, verb, question=""):
        self.items, self.given, self.path, self.columns = items, given, path, columns
        self.order, self.answers, self.noun, self.verb, self.question = list(items), list(answers), noun, verb, question
        self.status, self.content, self.buttons = widgets.HTML(), widgets.HTML(), []
        for answer, words in answers.items():
            layout = {"width": "auto", "min_width": "148px"}
            self.buttons.append(widgets.Button(description=words, tooltip=f"{question} {words}", layout=layout))
            self.buttons[-1].on_click(lambda _, answer=answer: self.answer(answer))
        self.back = widgets.Button(description="back", tooltip=f"Show the {noun} before")
        self.back.on_click(lambda _: self.show(self.at - 1))
        row = widgets.HBox([*self.buttons, self.back], layout={"flex_flow": "row wrap"})
        super().__init__([self.status, self.content, row])
        self.show()

    def answer(self, answer):
        """Give the item now shown an answer, save, and show the first item without one; says so if the disk is full."""
        if self.at < len(self.order):
            given = self.given | {self.order[self.at]: answer}
            names = [name for name, value in self.columns.items() if value is None]
            try:
                columns = self.columns | dict(zip(names, (list(given), list(given.values()))))
                machine.write_csv(self.path, pd.DataFrame(columns))
            except OSError as error:
                words = f"This answer could not be written to {self.path} ({error.strerror}): make room, then give it again."
                self.status.value = ALERT.format(html.escape(words))
                return
            self.given = given
        self.show()

    def show(self, at=None):
        """Show the item at a place, from 0, or the first that has no answer; after the last, where the file is."""
        count = len(self.order)
        at = next((i for i, item in enumerate(self.order) if item not in self.given), count) if at is None else at
        self.at, item = at, self.order[at] if at < count else None
        before = self.given.get(item)
        words = f"{self.noun.capitalize()} {at + 1} of {count}. {self.question}".strip()
        words += f" So far: {before}." if before else ""
        done = f"All {count} {self.noun}s are {self.verb}. The file is {self.path.name}."
        self.status.value = f"<p role='status'>{html.escape(words if at < count else done)}</p>"
        self.content.value = self.items.get(item, "")
        self.back.disabled = at == 0
        for button, answer in zip(self.buttons, self.answers):
            button.disabled, button.button_style = at == count, "info" if answer == before else ""


def sheet(table, seed=0):
    """The comments to be coded, in an order that tells nothing: DataFrame comment (c001 ...), value, respondent, item."""
    rows = table[table["question"] == "comment"].sort_values(["item", "respondent", "position"], kind="stable")
    rows = rows.sample(frac=1, random_state=seed)[["value", "respondent", "item"]].reset_index(drop=True)
    rows.insert(0, "comment", [f"c{number:03d}" for number in range(1, len(rows) + 1)])
    return rows


def read_codes(path):
    """One coder's codes {comment: code}. Raises ValueError naming the file and what is wrong with it."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table) != ["comment", "code"]:
        raise ValueError(f"The file {path} must have the columns comment and code, not {', '.join(table)}.")
    for row, code in table["code"][~table["code"].isin(CODES)].items():
        raise ValueError(f"The file {path}, line {row + 2}: there is no code {code!r}; choose from {', '.join(CODES)}.")
    return dict(zip(table["comment"], table["code"]))


def coder(comments, path):
    """An Annotator for the comments of sheet(): it shows no method, no rater, no other coder's code."""
    items = dict(zip(comments["comment"], [_html("blockquote", text) for text in comments["value"]]))
    answers = {code: f"{code}: {words}" for code, words in CODES.items()}
    given, columns = read_codes(path) if path.exists() else {}, {"comment": None, "code": None}
    return Annotator(items, answers, given, path, columns, noun="comment", verb="coded")


def agreement(one, two):
    """Two coders' {comment: code}: dict comments (coded by both), same (share), alpha (Krippendorff's, nominal).

    Raises ValueError if no comment was coded by both.
    """
    both = pd.DataFrame([one, two]).dropna(axis="columns")
    if both.empty:
        raise ValueError("No comment was coded by both coders: let both code the same comments.")
    same = float((both.iloc[0] == both.iloc[1]).mean())
    return {"comments": both.shape[1], "same": same, "alpha": statistics.alpha_of_words(both)}


def crossed(one, two):
    """How often which code met which: DataFrame, first coder in rows, second in columns; the diagonal is agreement."""
    both = pd.DataFrame({"first coder": one, "second coder": two}).dropna()
    found = pd.crosstab(both["first coder"], both["second coder"])
    return found.reindex(index=list(CODES), columns=list(CODES), fill_value=0)


def by_method(comments, codes, key):
    """How often each code was given to the pictures of each method: DataFrame, codes in rows, methods in columns."""
    methods = comments["item"].map(key.set_index("item")["method"])
    given = pd.Categorical(comments["comment"].map(codes), list(CODES))
    return pd.crosstab(pd.Series(given, name="code"), methods.rename("method"), dropna=False)


def study_size(studies=200):
    """Three sliders and what a study of that size can tell apart: redrawn whenever one is let go."""

    def show(raters=20, pictures=6, share=0.8):
        half = simulation.precision(share, raters, pictures, studies=studies)["half_width"]
        step = simulation.smallest_difference(share, raters, pictures)
        power = f"In 4 of 5 such studies {share:.0%} is told apart from {share + (step or 0):.0%} or more."
        words = power if step else "No better method could be told apart in 4 of 5 such studies."
        print(f"{raters} raters x {pictures} pictures of a method: {share:.0%} give or take {half:.0%}. {words}")
        display(figures.many_intervals(simulation.intervals(share, raters, pictures, studies=60), share))

    sliders = widgets.interactive(show, raters=(5, 60), pictures=(1, 20), share=(0.5, 0.95, 0.05))
    for slider in sliders.children[:-1]:
        slider.continuous_update = False
    return sliders
