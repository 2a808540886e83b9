"""Table 1 beside the paper's, and the study on one page: plan, sample, figures, tests, limits. HTML, printable."""

import html
import io
from pathlib import Path

import pandas as pd

from helpers import machine, show
from helpers.stats import between, percent, wilson
from helpers.survey import design, figures, questionnaire, rules, simulation, statistics, widgets

TEMPLATE = Path(__file__).with_suffix(".html")
FEW = 3  # a group of fewer people is not named: it could be recognised
STUDENTS, ITEMS = 20, 10  # in the paper; how many pictures each judged it does not say
READINGS = {  # what the paper's Table 1 can mean; short name: the same in full
    "one answer each": f"one answer from each of {STUDENTS} students, the count exact",
    "rounded": f"one answer from each of {STUDENTS} students, rounded to the nearest ten per cent",
    "pooled": f"{ITEMS} pictures a student, every answer taken for another person",
    "by student": f"{ITEMS} pictures a student, one student's answers alike",
}


def readings(studies=400, seed=0):
    """95 % intervals of the paper's three shares under READINGS: DataFrame reading, method, share, low, high.

    one answer each, pooled: Wilson's interval. rounded: from the lowest to the highest of all counts that round to it
    (15 and 17 of 20 are both called 80 %). by student: the average of simulated studies.
    """
    rows = []
    for method, share in simulation.PAPER.items():
        counts = [k for k in range(STUDENTS + 1) if abs(k / STUDENTS - share) <= 0.05 + 1e-9]
        lows, highs = zip(*(wilson(k / STUDENTS, STUDENTS) for k in counts))
        drawn = simulation.intervals(share, STUDENTS, ITEMS, studies=studies, seed=seed)
        rows.append(("one answer each", method, share, *wilson(round(share * STUDENTS) / STUDENTS, STUDENTS)))
        rows.append(("rounded", method, share, min(lows), max(highs)))
        rows.append(("pooled", method, share, *wilson(share, STUDENTS * ITEMS)))
        rows.append(("by student", method, share, drawn["low"].mean(), drawn["high"].mean()))
    return pd.DataFrame(rows, columns=["reading", "method", "share", "low", "high"])


def table1(satisfaction, read, simulated=False):
    """Table 1: DataFrame by method with the paper's column, its interval under every reading, and ours.

    satisfaction, read: as statistics.satisfaction and readings return them; a method that one of them lacks gets a dash.
    simulated: whether our column is, which its name then says.
    """
    ours = ("here", "SIMULATED" if simulated else "95 % interval")
    cells = {}
    for row in read.itertuples():
        cells.setdefault(row.method, {})[("the paper", "says")] = f"approx. {percent(row.share)}"
        cells[row.method]["the paper, if", row.reading] = f"{row.low * 100:.0f} to {row.high * 100:.0f} %"
    for name, row in satisfaction.iterrows():
        cells.setdefault(name, {})[ours] = percent(row["share"], row["low"], row["high"])
    return pd.DataFrame(cells).T.loc[design.in_order(cells)].fillna("-")


def write_table1(path, table):
    """Keep Table 1 as CSV with one line of column names."""
    flat = table.set_axis([" ".join(names) for names in table.columns], axis=1).rename_axis("method")
    machine.write_csv(path, flat, index=True)


def write(path, answers, fixed_rules, *, coders=None):
    """Write the report of an answers.Answers as one HTML page without scripts; prints to one sheet of A4.

    fixed_rules: as design.read_rules returns them; coders: two {comment: code}, if comments were coded. Returns path.
    """
    excluded = rules.exclusions(answers.table, fixed_rules)
    table = rules.without(answers.table, excluded)
    shares = statistics.satisfaction(table)
    simulated = (answers.table["source"] == "simulated").any()
    parts = {
        "SIMULATED": '<p class="simulated">Simulated answers. Nobody was asked.</p>' if simulated else "",
        "PLAN": _list(_plan(answers.table, fixed_rules)),
        "SAMPLE": _list(_sample(answers, excluded) + demographics(answers.people)),
        "TABLE1": table1(shares, readings(), simulated).to_html(border=0),
        "HEADLINE": html.escape(headline(shares)),
        "SHARES": _image(figures.shares(table, shares, simulation.PAPER), "Satisfaction by method"),
        "PAIRS": _pairs(table),
        "LIKENESS": _scale(table, "likeness"),
        "MATCH": _scale(table, "match"),
        "TESTS": _list(_tests(table)),
        "AGREEMENT": _list(_agreement(answers.table, table, fixed_rules, coders)),
        "LIMITS": _list(limits(table, simulated)),
    }
    return questionnaire.fill(TEMPLATE, path, parts)


def _image(chart, words):
    data = io.BytesIO()
    chart.savefig(data, format="png", dpi=150)
    return f'<img alt="{words}" src="{show.data_url(data.getvalue(), kind="PNG")}">'


def _list(sentences):
    return "<ul>" + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def headline(shares):
    """One sentence on the satisfaction with each method."""
    words = [f"{name} {percent(*row[['share', 'low', 'high']])}" for name, row in shares.iterrows()]
    return f"Satisfied, with a 95 % interval that respects the rater: {'; '.join(words)}."


def _plan(table, fixed_rules):
    rated = table[table["question"] == "satisfied"].drop_duplicates(["respondent", "item"])
    each = rated.groupby(["respondent", "method"]).size().median()
    kinds = f"{rated['method'].nunique()} methods, {rated['prompt_id'].nunique()} prompts"
    return [
        f"{kinds}, {rated['item'].nunique()} pictures under codes; nobody was told which method made what.",
        f"Each rater judged {each:.0f} pictures of every method, in an order balanced by a Latin square.",
        f"Left out by rules fixed before the answers: {'; '.join(rules.rules_in_words(fixed_rules)) or 'nobody'}.",
    ]


def _sample(answers, excluded):
    table, gone = answers.table, excluded["respondent"].nunique()
    raters, sources = table["respondent"].nunique(), ", ".join(sorted(set(table["source"])))
    undecided = (table.loc[table["question"] == "satisfied", "value"] == "undecided").mean()
    seconds = statistics.screens(table)["duration_s"].median()
    reasons = ", ".join(f"{reason} {n}" for reason, n in excluded["reason"].value_counts().items())
    return [
        f"{raters} raters, {len(table)} answers; source: {sources}.",
        f"Left out: {gone} of {raters} raters" + (f" (reasons: {reasons})." if gone else "."),
        f"Undecided: {percent(undecided)} of the yes-or-no answers.",
        "No times were recorded." if pd.isna(seconds) else f"Half of the screens took under {seconds:.0f} seconds.",
        f"Rows that could not be used or looked odd: {len(answers.odd)}.",
    ]


def demographics(people):
    """One sentence a column on who took part; groups of fewer than three people are put together."""
    sentences = []
    for name in people.columns.drop(["respondent", "source"]):
        counts = people[name].fillna("not given").value_counts()
        groups = [f"{value} {n}" for value, n in counts.items() if n >= FEW]
        rest = counts[counts < FEW].sum()
        sentences.append(f"{name}: {', '.join(groups + ([f'others {rest}'] if rest else []))}.")
    return sentences


def _scale(table, question):
    if (means := statistics.rating_means(table, question)).empty:
        return "<p>Not asked.</p>"
    words = [f"{row.Index} {row.mean:.1f} ({between(row.low, row.high, '.1f')})" for row in means.itertuples()]
    chart = _image(figures.scales(table, question), f"{question} by method")
    return f"{chart}<p>Means of raters: {'; '.join(words)}.</p>"


def _pairs(table):
    if (duels := statistics.duels(table)).empty:
        return "<p>Not asked, or nobody decided.</p>"
    strengths = statistics.bradley_terry(duels)
    chart = figures.intervals(strengths, "Bradley-Terry strength (log, sum 0)", answers=table)
    ties = percent((duels["winner"] == "tie").mean())
    return f"{_image(chart, 'Strength of the methods in pairs')}<p>{len(duels)} pairs, {ties} ties.</p>"


def _tests(table):
    """Cochran's Q, the pairs of methods and the odds of the GEE."""
    wide = statistics.blocks(table)
    try:
        q = statistics.cochran_q(wide)
    except ValueError as error:
        return [str(error)]
    numbers = f"Cochran's Q = {q['statistic']:.1f}; shuffled within raters p = {q['p_raters']:.3f}"
    sentences = [f"All methods together: {numbers}."]
    for row in statistics.mcnemar_pairs(wide).itertuples():
        points = f"{row.second} minus {row.first}: {row.difference * 100:+.0f} points"
        sentences.append(f"{points}, p by raters {row.holm_raters:.3f} (Holm).")
    try:
        for row in statistics.gee(table).itertuples():
            interval = f"{row.odds_ratio:.1f} ({between(row.low, row.high, '.1f')})"
            sentences.append(f"Odds of {row.Index} against base: {interval}, GEE.")
    except ValueError as error:
        sentences.append(f"No odds: {error}")
    return sentences


def _agreement(everybody, table, fixed_rules, coders):
    found = statistics.agreement(table)
    sentences = statistics.paradox_in_words(found) if len(found) else ["No picture was judged by two raters."]
    for row in found.itertuples():
        value = f"{row.alpha:.2f} ({between(row.low, row.high)})" if pd.notna(row.alpha) else "not known"
        same = f"two answers are the same in {percent(row.same)} of cases"
        sentences.append(f"Krippendorff's alpha of {row.Index}: {value}; {same}.")
    same, repeated = rules.consistency(table)
    if repeated:
        same = f"The same rater gave the same answer again to {percent(same)}"
        sentences.append(f"{same} of {repeated} repeated questions.")
    if coders:
        codes = widgets.agreement(*coders)
        same = f"{percent(codes['same'])} of {codes['comments']} the same code, alpha {codes['alpha']:.2f}"
        sentences.append(f"Comments: two coders gave {same}.")
    sentences += rules.spread_in_words(rules.sensitivity(everybody, fixed_rules))
    return sentences + rules.order_in_words(everybody)


def limits(table, simulated):
    """What a reader must know before repeating a number: a list of sentences."""
    raters, prompts = table["respondent"].nunique(), table.loc[table["prompt_id"] != "", "prompt_id"].nunique()
    invented = ["These raters were invented to try the method; no finding about pictures follows."]
    here = f"{raters} raters who happened to be there are not a sample of the public"
    return (invented if simulated else []) + [
        f"{here}; the intervals are about more such raters.",
        f"{prompts} prompts with one seed each: other prompts or seeds can turn the order round.",
        "One training of each method was judged, not the method.",
        "A difference that is not shown is not shown to be absent: look at how wide the interval is.",
        "The paper does not say how many pictures each student judged, so its percentages have no known interval.",
        *(f"These answers do not tell: {words}" for words in statistics.unknown_in_words(table)),
    ]
