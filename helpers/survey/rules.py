"""Who is left out, by rules that were fixed before the first answer, and how much hangs on those rules."""

import pandas as pd

from helpers import stats
from helpers.survey import design, statistics

REASONS = {"attention": "attention", "median_seconds": "too fast", "answered_share": "undecided"}
IN_WORDS = {
    "attention": "the attention screen was answered wrongly",
    "median_seconds": "half of the screens took less than {} seconds",
    "answered_share": 'fewer than {:.0%} of the ratings have an answer other than "I cannot decide"',
}


def rules_in_words(rules):
    """One sentence part for each rule that is in force; 0 or False switches a rule off."""
    return [IN_WORDS[name].format(rules[name]).replace("%", " %") for name in IN_WORDS if rules[name]]


def consistency(table):
    """Share of repeated questions that the same rater answered the same way, and how many there were."""
    rated = table[table["question"].isin(design.RATED)]
    groups = rated.groupby(["respondent", "item", "question"])["value"]
    repeated = groups.nunique()[groups.size() > 1]
    return float((repeated == 1).mean()), len(repeated)


def exclusions(table, rules):
    """Who is left out: DataFrame respondent, reason; a rater may have several. rules: as design.read_rules returns them."""
    attention = table[table["question"] == "attention"]
    wrong = attention.loc[attention["value"] != design.ATTENTION, "respondent"].unique()
    seconds = statistics.screens(table).groupby("respondent")["duration_s"].median()
    rated = table[table["question"].isin(design.RATED)]
    answered = (rated["value"] != "undecided").groupby(rated["respondent"]).mean()
    out = {
        "attention": wrong if rules["attention"] else [],
        "median_seconds": seconds.index[seconds < rules["median_seconds"]],
        "answered_share": answered.index[answered < rules["answered_share"]],
    }
    rows = [(who, REASONS[rule]) for rule, people in out.items() for who in people]
    return pd.DataFrame(rows, columns=["respondent", "reason"])


def order_in_words(table):
    """A sentence on raters whose order of screens no file tells, in a list that is empty if there are none."""
    unknown = table["position"].isna().groupby(table["respondent"]).any()
    if not unknown.any():
        return []
    who = f"The order of the screens is not known for {unknown.sum()} of {len(unknown)} raters"
    return [f"{who}: the first half is without them, and of a picture judged twice the first in the file counts."]


def without(table, excluded):
    """The answers of those who stay; excluded: as exclusions() returns it."""
    return table[~table["respondent"].isin(excluded["respondent"])]


def variants(table, rules):
    """{what else could have been decided: the answers to "satisfied" it leads to}, the plan's own way first."""
    excluded, answers = exclusions(table, rules), table[table["question"] == "satisfied"]
    left_out = {"as planned": excluded, "nobody left out": excluded[:0]}
    left_out |= {f"without the rule {name}": excluded[excluded["reason"] != reason] for name, reason in REASONS.items()}
    stay = {name: ~answers["respondent"].isin(out["respondent"]) for name, out in left_out.items()}
    numbers = {column: pd.factorize(answers[column])[0] for column in ("respondent", "item")}  # much faster than text
    tables = {name: answers.assign(**numbers)[staying] for name, staying in stay.items()}
    planned = tables["as planned"]
    tables["undecided counted as no"] = planned.assign(value=planned["value"].replace("undecided", "no"))
    half = planned[planned["position"] <= planned.groupby("respondent")["position"].transform("max") / 2]
    if (half.groupby("method")["respondent"].nunique().reindex(planned["method"].unique()) > 1).all():
        tables["first half of the screens"] = half
    prompts = sorted(planned["prompt_id"].unique())
    return tables | {f"without {prompt}": planned[planned["prompt_id"] != prompt] for prompt in prompts}


def sensitivity(table, rules):
    """Satisfaction under each of variants(): DataFrame variant, method, share, low, high."""
    parts = {name: statistics.satisfaction(answers) for name, answers in variants(table, rules).items()}
    return pd.concat(parts, names=["variant", "method"])[["share", "low", "high"]].reset_index()


def spread_in_words(table):
    """One sentence a method: from where to where its share moves over the variants. table: as of sensitivity()."""
    sentences = []
    for method, rows in table.groupby("method", sort=False):
        ends = [rows.loc[place] for place in (rows["share"].idxmin(), rows["share"].idxmax())]
        low, high = (f"{stats.percent(end['share'])} ({end['variant']})" for end in ends)
        sentences.append(f"{method}: {low} to {high}.")
    return sentences
