"""Rating pictures and coding comments in the notebook itself. Core ipywidgets only, 7 or 8, so Colab shows them too."""

import html
import secrets
import time

import ipywidgets as widgets
import pandas as pd
from IPython.display import display

from helpers import questionnaire, survey_comments, survey_design, survey_import, survey_planning, survey_plots

COLUMNS = ["study", "respondent", "item", "question", "value", "position", "duration_s"]
WIDE = {"width": "auto"}


def _alert(text):
    return f'<p role="alert" style="color:#a8281c;font-weight:600">{html.escape(text)}</p>' if text else ""


def _picture(path, words, side):
    """An img element with a text alternative, which widgets.Image does not have."""
    return f'<img src="{questionnaire.embed(path, side)}" alt="{html.escape(words)}" style="width:{side}px;max-width:100%">'


class Rater(widgets.VBox):
    """One rater's way through a plan, screen by screen; every answer is on disk before the next screen comes.

    key, plan, references: as for questionnaire.write; rater: a number of the plan; path: CSV in the questionnaire's
    own format, read again when the widget is made anew, so a restarted kernel goes on where it was left.
    """

    def __init__(self, key, plan, rater, path, references, language="en", side=256):
        super().__init__()
        self.words = questionnaire.interface()[language]
        self.pictures = key.set_index("item")
        self.screens = plan[plan["rater"] == rater][["kind", "item"]].values.tolist()
        if not self.screens:
            raise ValueError(f"The plan has no rater {rater}: choose 1 to {plan['rater'].max()}.")
        self.path, self.references, self.side = path, references, side
        self.study = questionnaire.study_id(plan, key)
        self.answers = self._resume()
        self.at = max((row["position"] for row in self.answers), default=0)
        self.show()

    def _resume(self):
        """The answers given before; a file of another plan is not touched."""
        self.respondent = "r" + secrets.token_hex(5)
        if not self.path.exists():
            return []
        before = pd.read_csv(self.path, dtype={"study": str}, keep_default_na=False)
        if set(before["study"]) - {self.study}:
            raise ValueError(f"{self.path} has answers to another plan: move it away, then begin.")
        self.respondent = before["respondent"].iloc[0]
        return before.to_dict("records")

    def show(self):
        """Put the next screen up, or the thanks after the last."""
        if self.at >= len(self.screens):
            self.questions, words = {}, html.escape(f"{self.words['thanks']} {self.path.name}")
            self.children = [widgets.HTML(f'<h3 dir="auto">{words}</h3>')]
            return
        kind, item = self.screens[self.at]
        asked = {"rate": survey_design.RATED, "attention": ("attention",), "pair": ("pair",)}[kind]
        if kind == "rate" and not self._people(item):
            asked = tuple(name for name in asked if name != "likeness")
        self.questions = {name: self._question(name) for name in asked}
        self.comment = widgets.Textarea(
            placeholder=self.words["comment"], layout=widgets.Layout(width="28em"), continuous_update=False
        )  # sent when the field is left, so before the button's press
        self.next = widgets.Button(description=self.words["next"], button_style="primary")
        self.next.on_click(lambda _: self.keep())
        self.alert = widgets.HTML()
        boxes = [part for name, box in self.questions.items() for part in (self._heading(self.words[name]), box)]
        comment = [self.comment] if kind == "rate" else []
        self.children = [widgets.HTML(self._context(kind, item)), *boxes, *comment, self.alert, self.next]
        self.began = time.monotonic()

    def _people(self, item):
        subject = self.pictures["subject"].get(item.split("+")[0]) if "subject" in self.pictures else None
        return self.references.get(subject, [])

    def _context(self, kind, item):
        """What stands above the questions: how far we are, the words, the photos, the picture or two."""
        told = self.words["progress"].replace("{0}", str(self.at + 1)).replace("{1}", str(len(self.screens)))
        parts = [f'<h3 dir="auto">{told}</h3>']
        if kind == "attention":
            return parts[0]
        codes = item.split("+")
        prompt = html.escape(self.pictures["prompt"][codes[0]])
        parts.append(f'<p dir="auto">{self.words["prompt"]}</p><blockquote lang="en">{prompt}</blockquote>')
        people = [_picture(photo, self.words["reference_alt"], 96) for photo in self._people(item)]
        if people:
            parts.append(f'<p dir="auto">{self.words["reference"]}</p><div>{" ".join(people)}</div>')
        alts = questionnaire.picture_alts(self.words, len(codes))
        shown = [_picture(self.pictures["file"][code], alt, self.side) for code, alt in zip(codes, alts)]
        return "".join(parts) + f'<div dir="ltr" style="margin:8px 0">{" ".join(shown)}</div>'

    def _heading(self, words):
        return widgets.HTML(f'<b dir="auto">{html.escape(words)}</b>')

    def _question(self, name):
        """The choices of a question, none chosen."""
        values = survey_design.QUESTIONS[name]
        words = [self.words.get(f"{name}_{value}", self.words.get(value, "")) for value in values]
        options = [
            (f"{value}  {text}".strip() if value.isdigit() else text, value) for value, text in zip(values, words)
        ]
        return widgets.RadioButtons(options=options, value=None, layout=widgets.Layout(**WIDE))

    def keep(self):
        """Keep this screen's answers on disk and go on; says so if one is missing."""
        given = {name: box.value for name, box in self.questions.items()}
        if None in given.values():
            self.alert.value = _alert(self.words["missing"])
            return
        if self.comment.value.strip():
            given["comment"] = self.comment.value.strip()[:500]
        item, seconds = self.screens[self.at][1], round(time.monotonic() - self.began, 1)
        for name, value in given.items():
            row = (self.study, self.respondent, item, name, value, self.at + 1, seconds)
            self.answers.append(dict(zip(COLUMNS, row)))
        survey_import.write_table(self.path, pd.DataFrame(self.answers).astype({"value": str}))
        self.at += 1
        self.show()


class Coder(widgets.VBox):
    """One coder's way through the comments of survey_comments.sheet(); every code is on disk at once.

    Shows the comment alone: no method, no rater, no other coder's code. Codes given before are read from `path`.
    """

    def __init__(self, comments, path):
        super().__init__()
        self.comments, self.path = comments, path
        self.codes = survey_comments.read_codes(path) if path.exists() else {}
        self.text = widgets.HTML()
        options = [(f"{code}: {words}", code) for code, words in survey_comments.CODES.items()]
        self.choice = widgets.RadioButtons(options=options, value=None, layout=widgets.Layout(**WIDE))
        self.back, self.next = widgets.Button(description="Back"), widgets.Button(description="Next")
        self.back.on_click(lambda _: self.go(self.at - 1))
        self.next.on_click(lambda _: self.go(self.at + 1))
        self.choice.observe(self._chosen, "value")
        self.children = [self.text, self.choice, widgets.HBox([self.back, self.next])]
        open_ones = [i for i, comment in enumerate(comments["comment"]) if comment not in self.codes]
        self.go(open_ones[0] if open_ones else 0)

    def go(self, at):
        """Show the comment at a place, from 0; places outside stop at the ends."""
        self.at = min(max(at, 0), len(self.comments) - 1)
        row = self.comments.iloc[self.at]
        told = f"{self.at + 1} of {len(self.comments)}; {len(self.codes)} coded"
        self.text.value = f'<p>{told}</p><blockquote dir="auto">{html.escape(row["value"])}</blockquote>'
        self.shown = None  # so that putting the old code back is not taken for a choice
        self.choice.value = self.codes.get(row["comment"])
        self.shown = row["comment"]

    def _chosen(self, change):
        if self.shown and change["new"]:
            self.codes[self.shown] = change["new"]
            survey_comments.write_codes(self.path, self.codes)


def study_size(studies=200):
    """Three sliders and what a study of that size can tell apart: redrawn whenever one is let go."""

    def show(raters, pictures, share):
        found = survey_planning.precision(share, raters, pictures, studies=studies)
        apart = survey_planning.smallest_difference(share, raters, pictures)
        told = f"{raters} raters x {pictures} pictures of a method: {share:.0%} give or take {found['half_width']:.0%}."
        if apart is None:
            print(told, "No better method could be told apart in 4 of 5 such studies.")
        else:
            print(told, f"In 4 of 5 such studies {share:.0%} is told apart from {share + apart:.0%} or more.")
        chart = survey_plots.many_intervals(survey_planning.intervals(share, raters, pictures, studies=60), share)
        display(chart)  # widgets.interactive shows what is displayed, not what is returned
        return chart

    slider = {"continuous_update": False, "style": {"description_width": "6em"}}
    return widgets.interactive(
        show,
        raters=widgets.IntSlider(20, 5, 60, description="raters", **slider),
        pictures=widgets.IntSlider(6, 1, 20, description="pictures", **slider),
        share=widgets.FloatSlider(0.8, min=0.5, max=0.95, step=0.05, description="true share", **slider),
    )
