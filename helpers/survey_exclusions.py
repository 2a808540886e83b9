"""Who is left out, by rules that were fixed before the first answer, and how much hangs on those rules."""

import pandas as pd

from helpers import bootstrap, survey_design, survey_statistics

OFF = {"attention": False, "median_seconds": 0, "answered_share": 0}  # the value of each rule that leaves nobody out
REASONS = {"attention": "attention", "median_seconds": "too fast", "answered_share": "undecided"}
RULE_WORDS = {
    "attention": "the attention screen was answered wrongly",
    "median_seconds": "half of the screens took less than {} seconds",
    "answered_share": 'fewer than {:.0%} of the ratings have an answer other than "I cannot decide"',
}


def rules_in_words(rules):
    """One sentence part for each rule that is in force."""
    return [
        words.format(rules[name]).replace("%", " %") for name, words in RULE_WORDS.items() if rules[name] != OFF[name]
    ]


def consistency(table):
    """Share of repeated questions that the same rater answered the same way, and how many there were."""
    rated = table[table["question"].isin(survey_design.RATED)]
    groups = rated.groupby(["respondent", "item", "question"])["value"]
    repeated = groups.nunique()[groups.size() > 1]
    return (float((repeated == 1).mean()) if len(repeated) else float("nan")), len(repeated)


def exclusions(table, rules):
    """Who is left out, by rules fixed in the plan: DataFrame respondent, reason; a rater may have several.

    rules: those that survey_design.read_rules finds beside the plan;
    attention: the attention screen was answered wrongly; median_seconds: half the screens took less than this;
    answered_share: fewer of the rated questions than this have an answer other than "undecided".
    """
    watched = table[table["question"] == "attention"]
    found = [(who, "attention") for who in watched[watched["value"] != survey_design.ATTENTION]["respondent"].unique()]
    screens = survey_statistics.screens(table).groupby("respondent")["duration_s"].median()
    found += [(who, "too fast") for who in screens[screens < rules["median_seconds"]].index]
    rated = table[table["question"].isin(survey_design.RATED)]
    answered = (rated["value"] != "undecided").groupby(rated["respondent"]).mean()
    found += [(who, "undecided") for who in answered[answered < rules["answered_share"]].index]
    if not rules["attention"]:
        found = [row for row in found if row[1] != "attention"]
    return pd.DataFrame(found, columns=["respondent", "reason"])


def order_in_words(table):
    """A sentence on raters whose order of screens no file tells, in a list that is empty if there are none."""
    unknown = table["position"].isna().groupby(table["respondent"]).any()
    if not unknown.any():
        return []
    who = f"The order of the screens is not known for {unknown.sum()} of {len(unknown)} raters"
    return [f"{who}: the first half is told without them, and of a picture judged twice the first in the file counts."]


def without(table, excluded):
    """The answers of those who stay; excluded: as exclusions() returns it."""
    return table[~table["respondent"].isin(excluded["respondent"])]


def variants(table, rules):
    """{what else could have been decided: the answers to "satisfied" it leads to}, the plan's own way first."""
    excluded, asked = exclusions(table, rules), table[table["question"] == "satisfied"]
    left = {"as planned": excluded, "nobody left out": excluded[:0]}
    left |= {f"without the rule {name}": excluded[excluded["reason"] != reason] for name, reason in REASONS.items()}
    stay = {name: ~asked["respondent"].isin(out["respondent"]) for name, out in left.items()}
    asked = asked.assign(respondent=pd.factorize(asked["respondent"])[0], item=pd.factorize(asked["item"])[0])
    found = {name: asked[staying] for name, staying in stay.items()}
    planned = found["as planned"]
    found["undecided counted as no"] = planned.assign(
        value=planned["value"].mask(planned["value"] == "undecided", "no")
    )
    half = planned[planned["position"] <= planned.groupby("respondent")["position"].transform("max") / 2]
    if (half.groupby("method")["respondent"].nunique().reindex(planned["method"].unique()) > 1).all():
        found["first half of the screens"] = half
    for prompt in sorted(planned["prompt_id"].unique()):
        found[f"without {prompt}"] = planned[planned["prompt_id"] != prompt]
    return found


def sensitivity(table, rules):
    """Satisfaction under each of variants(): DataFrame variant, method, share, low, high."""
    parts = []
    for name, answers in variants(table, rules).items():
        parts.append(
            survey_statistics.satisfaction(answers)[["share", "low", "high"]]
            .assign(variant=name)
            .reset_index(names="method")
        )
    return pd.concat(parts, ignore_index=True)[["variant", "method", "share", "low", "high"]]


def spread_in_words(table):
    """One sentence a method: from where to where its share moves over the variants. table: as of sensitivity()."""
    told = []
    for method, rows in table.groupby("method", sort=False):
        low, high = rows.loc[rows["share"].idxmin()], rows.loc[rows["share"].idxmax()]
        from_, to = bootstrap.percent(low["share"]), bootstrap.percent(high["share"])
        told.append(f"{method}: {from_} ({low['variant']}) to {to} ({high['variant']}).")
    return told
