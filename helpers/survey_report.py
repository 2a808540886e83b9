"""The study on one page: plan, sample, who was left out, figures, tests, and what it does not show. HTML, printable."""

import html
import io
from pathlib import Path

import pandas as pd

from helpers import (
    bootstrap,
    files,
    survey_agreement,
    survey_comments,
    survey_exclusions,
    survey_plots,
    survey_simulation,
    survey_statistics,
    survey_table1,
    widget_host,
)

TEMPLATE = Path(__file__).with_suffix(".html")
FEW = 3  # a group of fewer people is not named: it could be recognised


def write(path, answers, rules, *, title="What raters said about the pictures", coders=None):
    """Write the report of survey_import.Answers as one HTML page without scripts; prints to one sheet of A4.

    rules: as fixed in the plan; coders: two {comment: code} of survey_comments, if the comments were coded.
    Returns the path.
    """
    excluded = survey_exclusions.exclusions(answers.table, rules)
    table = survey_exclusions.without(answers.table, excluded)
    shares = survey_statistics.satisfaction(table)
    simulated = (answers.table["source"] == "simulated").any()
    parts = {
        "TITLE": html.escape(title),
        "SIMULATED": '<p class="simulated">Simulated answers. Nobody was asked.</p>' if simulated else "",
        "PLAN": _plan(answers.table, rules),
        "SAMPLE": _sample(answers, excluded),
        "TABLE1": survey_table1.table1(shares, survey_table1.readings(), simulated).to_html(border=0),
        "HEADLINE": html.escape(headline(shares)),
        "SHARES": _image(survey_plots.shares(table, shares, survey_simulation.PAPER), "Satisfaction by method"),
        "PAIRS": _pairs(table),
        "LIKENESS": _scale(table, "likeness"),
        "MATCH": _scale(table, "match"),
        "TESTS": _tests(table),
        "AGREEMENT": _agreement(answers.table, table, rules, coders),
        "LIMITS": _list(limits(table, simulated)),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(f"__{name}__", part)
    with files.atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _image(chart, words):
    data = io.BytesIO()
    chart.savefig(data, format="png", dpi=150)
    return f'<img alt="{words}" src="{widget_host.data_url(data.getvalue(), kind="PNG")}">'


def _list(sentences):
    return "<ul>" + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def headline(shares):
    """One sentence on the satisfaction with each method."""
    told = [f"{name} {bootstrap.percent(*row[['share', 'low', 'high']])}" for name, row in shares.iterrows()]
    return f"Satisfied, with a 95 % interval that respects the rater: {'; '.join(told)}."


def _plan(table, rules):
    rated = table[table["question"] == "satisfied"].drop_duplicates(["respondent", "item"])
    each = rated.groupby(["respondent", "method"]).size().median()
    kinds = f"{rated['method'].nunique()} methods, {rated['prompt_id'].nunique()} prompts"
    left_out = "; ".join(survey_exclusions.rules_in_words(rules)) or "nobody"
    told = [f"{kinds}, {rated['item'].nunique()} pictures under codes; nobody was told which method made what."]
    told.append(f"Each rater judged {each:.0f} pictures of every method, in an order balanced by a Latin square.")
    return _list([*told, f"Left out by rules fixed before the answers: {left_out}."])


def _sample(answers, excluded):
    table, gone = answers.table, excluded["respondent"].nunique()
    undecided = (table.loc[table["question"] == "satisfied", "value"] == "undecided").mean()
    seconds = survey_statistics.screens(table)["duration_s"].median()
    reasons = ", ".join(f"{reason} {n}" for reason, n in excluded["reason"].value_counts().items())
    told = [
        f"{table['respondent'].nunique()} raters, {len(table)} answers; source: {', '.join(sorted(set(table['source'])))}.",
        f"Left out: {gone} of {table['respondent'].nunique()} raters" + (f" (reasons: {reasons})." if gone else "."),
        f"Undecided: {bootstrap.percent(undecided)} of the yes-or-no answers.",
        "No times were recorded." if pd.isna(seconds) else f"Half of the screens took under {seconds:.0f} seconds.",
        f"Rows that could not be used or looked odd: {len(answers.odd)}.",
    ]
    return _list(told + demographics(answers.people))


def demographics(people):
    """One sentence a column on who took part; groups of fewer than three people are put together."""
    told = []
    for name in people.columns.drop(["respondent", "source"]):
        counts = people[name].fillna("not told").value_counts()
        named = [f"{value} {n}" for value, n in counts.items() if n >= FEW]
        rest = counts[counts < FEW].sum()
        told.append(f"{name}: {', '.join(named + ([f'others {rest}'] if rest else []))}.")
    return told


def _scale(table, question):
    means = survey_statistics.rating_means(table, question)
    if means.empty:
        return "<p>Not asked.</p>"
    told = "; ".join(
        f"{name} {row['mean']:.1f} ({row['low']:.1f} to {row['high']:.1f})" for name, row in means.iterrows()
    )
    return _image(survey_plots.scales(table, question), f"{question} by method") + f"<p>Means of raters: {told}.</p>"


def _pairs(table):
    duels = survey_agreement.duels(table)
    if duels.empty:
        return "<p>Not asked, or nobody decided.</p>"
    strengths = survey_agreement.bradley_terry_intervals(duels)
    chart = survey_plots.intervals(strengths, "Bradley-Terry strength (log, sum 0)", answers=table)
    ties = (duels["winner"] == "tie").mean()
    return (
        _image(chart, "Strength of the methods in pairs")
        + f"<p>{len(duels)} pairs, {bootstrap.percent(ties)} ties.</p>"
    )


def _tests(table):
    """Cochran's Q, the pairs of methods and the odds of the GEE."""
    wide = survey_statistics.blocks(table)
    if wide.empty or wide.shape[1] < 2:
        return "<p>No rater judged every method on one prompt, so the methods cannot be compared within raters.</p>"
    if wide.to_numpy().min() == wide.to_numpy().max():
        return "<p>All answers agree, so there is no difference to test.</p>"
    q = survey_statistics.cochran_q(wide)
    told = [
        f"All methods together: Cochran's Q = {q['statistic']:.1f}; shuffled within raters p = {q['p_raters']:.3f}."
    ]
    for row in survey_statistics.mcnemar_pairs(wide).itertuples():
        told.append(
            f"{row.second} minus {row.first}: {row.difference * 100:+.0f} points, p by raters {row.holm_raters:.3f} (Holm)."
        )
    try:
        for name, row in survey_statistics.gee(table).iterrows():
            told.append(
                f"Odds of {name} against base: {row['odds_ratio']:.1f} ({row['low']:.1f} to {row['high']:.1f}), GEE."
            )
    except ValueError as error:
        told.append(f"No odds: {error}")
    return _list(told)


def _agreement(everybody, table, rules, coders):
    told = []
    for question, level in (("satisfied", "nominal"), ("likeness", "ordinal"), ("match", "ordinal")):
        try:
            ratings = survey_agreement.ratings(table, question)
            value, (low, high) = bootstrap.alpha(ratings, level), bootstrap.alpha_interval(ratings, level)
            told.append(f"Krippendorff's alpha of {question}: {value:.2f} ({low:.2f} to {high:.2f}).")
        except ValueError:
            told.append(f"{question}: no picture was judged by two raters.")
    same, repeated = survey_exclusions.consistency(table)
    if repeated:
        told.append(
            f"The same rater gave the same answer again to {bootstrap.percent(same)} of {repeated} repeated questions."
        )
    if coders:
        found = survey_comments.agreement(*coders)
        told.append(
            f"Comments: two coders gave {bootstrap.percent(found['same'])} of {found['comments']} the same code, alpha {found['alpha']:.2f}."
        )
    told += survey_exclusions.spread_in_words(survey_exclusions.sensitivity(everybody, rules))
    told += survey_exclusions.order_in_words(everybody)
    return _list(told)


def limits(table, simulated):
    """What a reader must know before repeating a number: a list of sentences."""
    raters, prompts = table["respondent"].nunique(), table.loc[table["prompt_id"] != "", "prompt_id"].nunique()
    told = [
        f"{raters} raters who happened to be there are not a sample of the public; the intervals speak of more such raters.",
        f"{prompts} prompts with one seed each: other prompts or seeds can turn the order round.",
        "One training of each method was judged, not the method.",
        "A difference that is not shown is not shown to be absent: look at how wide the interval is.",
        "The paper does not say how many pictures each student judged, so its percentages have no known interval.",
    ]
    return (
        ["These raters were invented to try the method; no finding about pictures follows."] if simulated else []
    ) + told
