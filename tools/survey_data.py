"""What lies in data/survey: the answers of twenty invented raters, and the finished set of pictures under codes.

python -m tools.survey_data      writes simulated_responses.csv, and from a run of notebook 07 key.csv and pictures/
"""

import sys

import numpy as np
import pandas as pd
from scipy import special

from helpers import machine, survey
from helpers.survey import design, simulation

PROMPT_SD = 0.5  # logits between prompts; an assumption, the paper says nothing about it
CARELESS = 0.05  # share of raters who click through; likewise
COMMENTS = 0.12  # share of pictures that get a comment; likewise
DECIDED = {name: [value for value in values if value != "undecided"] for name, values in design.CLOSED.items()}


def simulate(key, plan, prompt_sd=PROMPT_SD, careless=CARELESS, seed=design.SEED):
    """The long table that invented raters would leave who follow a plan; its source says "simulated".

    Satisfied: logit(p) = intercept of the method + effect of the rater + effect of the prompt, both normal, such that
    on average over attentive raters and prompts the share is that in PAPER. Likeness and match are cut from the same
    leaning plus noise; a pair goes to the picture with the higher leaning. One answer in 50 is "undecided". Attentive
    raters pass the attention screen but one in 40; the share `careless` clicks anything within a second or two.
    """
    rng = np.random.default_rng(seed)
    raters, prompts = plan["rater"].max(), sorted(key["prompt_id"].unique())
    rater_effect = rng.normal(0, simulation.RATER_SD, raters + 1)
    prompt_effect = pd.Series(rng.normal(0, prompt_sd, len(prompts)), prompts)
    middle = {
        method: simulation.intercept(rate, np.hypot(simulation.RATER_SD, prompt_sd))
        for method, rate in simulation.PAPER.items()
    }
    rows = _screens(key, plan, rng)
    rated, pairs, attention = (rows[rows["kind"] == kind] for kind in ("rate", "pair", "attention"))
    shared = rater_effect[rated["rater"]] + rated["prompt_id"].map(prompt_effect).to_numpy()
    leaning = rated["method"].map(middle).to_numpy() + shared
    yes_no = np.where(rng.random(len(leaning)) < special.expit(leaning), "yes", "no")
    parts = [rated.assign(question="satisfied", value=_undecided(yes_no, rng))]
    parts += [rated.assign(question=name, value=_scale(leaning, rng)) for name in ("likeness", "match")]
    parts.append(pairs.assign(question="pair", value=_choose(pairs["method"], middle, rng)))
    passed = np.where(rng.random(len(attention)) < 1 / 40, "2", design.ATTENTION)
    parts.append(attention.assign(question="attention", value=passed))
    parts.append(_comments(rated, leaning, rng))
    table = _click_through(pd.concat(parts), rng.permutation(raters)[: round(raters * careless)] + 1, rng)
    return table.sort_values(["rater", "position"], kind="stable", ignore_index=True)[survey.answers.LONG]


def _screens(key, plan, rng):
    """The screens of a plan with the respondents' ids, the time taken and what stands behind the codes."""
    numbers = rng.choice(2**24, plan["rater"].max() + 1, replace=False)
    rows = plan.assign(respondent=[f"r{numbers[rater]:010x}" for rater in plan["rater"]], source="simulated")
    rows["duration_s"] = np.exp(rng.normal(np.log(8), 0.4, len(rows))).round(1)
    prompts, methods = survey.answers.unblind(key, rows["item"].unique())
    return rows.assign(prompt_id=rows["item"].map(prompts), method=rows["item"].map(methods))


def _undecided(values, rng):
    return np.where(rng.random(len(values)) < 1 / 50, "undecided", values)


def _scale(leaning, rng):
    cut = np.digitize(leaning + rng.logistic(0, 1, len(leaning)), [-1, 0.5, 2, 3.5]) + 1
    return _undecided(cut.astype(str), rng)


def _choose(methods, middle, rng):
    """left, right or tie for pairs of methods "left+right"."""
    sides = methods.str.split("+", expand=True).reindex(columns=[0, 1])
    lead = sides[0].map(middle).to_numpy(float) - sides[1].map(middle).to_numpy(float)
    lead = lead + rng.logistic(0, 1, len(sides))
    return _undecided(np.select([lead > 0.4, lead < -0.4], ["left", "right"], "tie"), rng)


def _comments(rated, leaning, rng):
    """Some rated screens once more as comments; the happier a rater, the likelier a pleased one."""
    texts = simulation.invented_comments()
    some = rng.random(len(rated)) < COMMENTS
    pleased = rng.random(some.sum()) < special.expit(leaning[some] - 1)
    themes = rng.choice(list(texts), some.sum())
    said = [rng.choice(texts[theme]["pleased" if happy else "displeased"]) for theme, happy in zip(themes, pleased)]
    return rated[some].assign(question="comment", value=said)


def _click_through(table, careless, rng):
    """Careless raters answer anything, a second or two a screen, and write nothing."""
    table = table[~(table["rater"].isin(careless) & (table["question"] == "comment"))].reset_index(drop=True)
    rows = table["rater"].isin(careless)
    anything = [rng.choice(DECIDED[question]) for question in table.loc[rows, "question"]]
    table.loc[rows, "value"] = np.array(anything, dtype=object)
    table.loc[rows, "duration_s"] = (table.loc[rows, "duration_s"] / 6).round(1)
    return table


if __name__ == "__main__":
    key = design.paper_key()
    survey.answers.write_table(simulation.FILE, simulate(key, design.make_plan(key, 20, seed=design.SEED)))
    print(simulation.FILE.relative_to(machine.REPO))
    if not design.INDEX.exists():
        sys.exit(f"The file {design.INDEX} is missing, so the pictures stay: run notebooks/07_compare.ipynb first.")
    key = design.blind(design.study_key(design.SEED)[0], design.FINISHED / "pictures")
    machine.write_csv(design.FINISHED / "key.csv", key.drop(columns="file"))
    print(f"{len(key)} pictures and key.csv in {design.FINISHED.relative_to(machine.REPO)}")
