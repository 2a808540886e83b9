"""The plan of a blind study: which rater sees which picture when, fixed by a seed before any answer."""

import hashlib
import itertools

import numpy as np
import pandas as pd

from helpers import files

SCALE = ("1", "2", "3", "4", "5", "undecided")
QUESTIONS = {  # what may be answered; a comment is free text
    "satisfied": ("yes", "no", "undecided"),
    "likeness": SCALE,
    "match": SCALE,
    "pair": ("left", "right", "tie", "undecided"),
    "attention": ("1", "2", "3", "4", "5"),
    "comment": None,
}
RATED = ("satisfied", "likeness", "match")  # asked of every picture
ATTENTION = "4"  # the answer that the attention screen asks for
RULES = {"attention": True, "median_seconds": 2.0, "answered_share": 0.5}  # see exclusions() in survey_statistics
LETTERS, DIGITS = "bcdfghjkmnpqrstvwxz", "23456789"  # no vowels: a code is never a word


def pictures(folder, prompts, methods, seed=1):
    """The pictures of notebook 05 to be judged: one row a prompt and method, all from the same seed.

    folder: runs/compare/images; prompts: DataFrame prompt_id, prompt; methods: names of its folders.
    Returns DataFrame prompt_id, prompt, method, file. Raises FileNotFoundError naming the first that is missing.
    """
    rows = []
    for (prompt_id, prompt), method in itertools.product(prompts[["prompt_id", "prompt"]].values, methods):
        ending = f"-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}-seed{seed}.png"  # as compare.file_name ends
        found = sorted((folder / method).glob("*" + ending))
        if not found:
            raise FileNotFoundError(f"{folder / method} has no picture of {prompt_id}: run notebooks/05_compare.ipynb.")
        rows.append({"prompt_id": prompt_id, "prompt": prompt, "method": method, "file": found[0]})
    return pd.DataFrame(rows)


def make_key(table, seed):
    """Give every picture a code that tells nothing: the table with a column item, in the order of the codes.

    table: columns prompt_id and method. Raises ValueError unless every prompt has every method exactly once.
    """
    counts = pd.crosstab(table["prompt_id"], table["method"])
    if counts.empty or (counts != 1).any(axis=None):
        raise ValueError("Every prompt needs exactly one picture of every method, else the comparison is not fair.")
    rng = np.random.default_rng(seed)
    codes = ["".join(code) for code in itertools.product(LETTERS, DIGITS, LETTERS, DIGITS)]
    chosen = rng.choice(codes, len(table), replace=False)
    return table.assign(item=chosen).sort_values("item", ignore_index=True)


def williams(count):
    """Orders of `count` methods: each stands equally often in each place and follows each other equally often.

    Williams, Australian Journal of Scientific Research A 2 (1949): `count` rows if it is even, else twice as many.
    """
    first = [0]
    for step in range(1, count):
        first.append((first[-1] + (step if step % 2 else -step)) % count)
    rows = [[(method + shift) % count for method in first] for shift in range(count)]
    return rows if count % 2 == 0 else rows + [row[::-1] for row in rows]


def make_plan(key, raters, *, prompts=6, pairs=4, duplicates=2, attention=1, seed):
    """One row a screen: rater (from 1), position (from 1), kind (rate, attention, pair), item.

    Every rater sees every method on `prompts` of the prompts, in as many rounds as there are methods. Over all raters
    each picture is shown equally often in each round, give or take one. `duplicates` of the first round's pictures
    come once more at the end; then `pairs` of pictures of one prompt, whose item is left+right.
    Raises ValueError if there are fewer prompts than a rater should see.
    """
    rng = np.random.default_rng(seed)
    code = key.set_index(["prompt_id", "method"])["item"]
    order = list(rng.permutation(sorted(key["prompt_id"].unique())))
    methods = sorted(key["method"].unique())
    if prompts > len(order) or duplicates > prompts:
        raise ValueError(f"There are {len(order)} prompts: a rater cannot see {max(prompts, duplicates)}.")
    shown, compared, rows = dict.fromkeys(order, 0), itertools.count(), []
    for rater in range(raters):
        own = [order[(rater * prompts + slot) % len(order)] for slot in range(prompts)]
        rounds = _rounds(own, methods, shown, rng)
        screens = [("rate", code[cell]) for cells in rounds for cell in cells]
        for _ in range(attention):
            screens.insert(rng.integers(1, len(screens)), ("attention", "attention"))
        again = rng.choice(len(rounds[0]), duplicates, replace=False)
        screens += [("rate", code[rounds[0][i]]) for i in again]
        screens += [("pair", _pair(code, methods, own[i % prompts], next(compared), rng)) for i in range(pairs)]
        rows += [(rater + 1, position, *screen) for position, screen in enumerate(screens, 1)]
    return pd.DataFrame(rows, columns=["rater", "position", "kind", "item"])


def _rounds(own, methods, shown, rng):
    """A rater's prompts once in every round, each with its next row of the Williams square."""
    square = williams(len(methods))
    rows = {}
    for prompt in own:
        rows[prompt] = square[shown[prompt] % len(square)]
        shown[prompt] += 1
    rounds, last = [], None
    for place in range(len(methods)):
        turn = list(rng.permutation(own))
        if turn[0] == last:  # the same words twice in a row would invite comparing from memory
            turn = turn[1:] + turn[:1]
        last = turn[-1]
        rounds.append([(prompt, methods[rows[prompt][place]]) for prompt in turn])
    return rounds


def _pair(code, methods, prompt, number, rng):
    """The codes of two pictures of a prompt; every two methods meet equally often, sides by the seed."""
    combinations = list(itertools.combinations(methods, 2))
    sides = rng.permutation(combinations[number % len(combinations)])
    return "+".join(code[prompt, method] for method in sides)


def write_plan(folder, key, plan, seed, rules=RULES):
    """Keep the plan before the first answer: plan.csv, rules.json, and key.csv, which no rater may see."""
    for name, table in (("plan.csv", plan), ("key.csv", key.drop(columns="file", errors="ignore"))):
        with files.atomic_write(folder / name) as partial:
            table.to_csv(partial, index=False)
    files.write_json(folder / "rules.json", {"seed": seed, "raters": int(plan["rater"].max()), "exclude": rules})
