"""The plan of a blind study, fixed by a seed before any answer: which rater sees which picture when.

The pictures come from notebook 07's run, else from the small finished set in data/survey.
"""

import itertools

import numpy as np
import pandas as pd

from helpers import machine
from helpers.survey import questionnaire

SCALE = ("1", "2", "3", "4", "5", "undecided")
QUESTIONS = {  # what may be answered; a comment is free text
    "satisfied": ("yes", "no", "undecided"),
    "likeness": SCALE,
    "match": SCALE,
    "pair": ("left", "right", "tie", "undecided"),
    "attention": ("1", "2", "3", "4", "5"),
    "comment": None,
}
CLOSED = {name: values for name, values in QUESTIONS.items() if values}
RATED = ("satisfied", "likeness", "match")  # the questions on every picture
KINDS = {"rate": RATED, "pair": ("pair",), "attention": ("attention",)}  # of screens, with their questions
ATTENTION = "4"  # the right answer on the attention screen
RULES = {"attention": True, "median_seconds": 2.0, "answered_share": 0.5}  # see rules.py
METHODS = ("base", "hypernetwork", "DreamBooth")  # in the order of tables and figures, others after them
LETTERS, DIGITS = "bcdfghjkmnpqrstvwxz", "23456789"  # no vowels: a code is never a word
SEED = 20  # of the finished set
PROMPTS = machine.REPO / "data" / "prompts.csv"
FINISHED = machine.REPO / "data" / "survey"
INDEX = machine.RUNS / "compare" / "images.csv"


def questions(kind, photos):
    """The questions of a kind of screen; without photos of the person nobody can judge the likeness."""
    return tuple(name for name in KINDS[kind] if photos or name != "likeness")


def choices(question, words):
    """{value: words} of a closed question, such as {"4": "4  A lot"}; words: a language of questionnaire.interface."""
    scale = lambda value: f"{value}  {words.get(f'{question}_{value}', '')}".strip()
    return {value: scale(value) if value.isdigit() else words[value] for value in CLOSED[question]}


def pictures(index, prompts, methods, seed=1):
    """The pictures of notebook 07 to be judged: one row a prompt and method, all from the same seed.

    index: runs/compare/images.csv; prompts: DataFrame prompt_id, prompt, subject and more; methods: as in the index.
    The training on the prompt's own subject is preferred, and the picture from the very words that raters read.
    Returns the columns of `prompts` with method and file. Raises FileNotFoundError naming the first that is missing.
    """
    images, rows = pd.read_csv(index, keep_default_na=False), []
    for row, method in itertools.product(prompts.to_dict("records"), methods):
        same = (images["prompt_id"] == row["prompt_id"]) & (images["method"] == method) & (images["seed"] == seed)
        images["other_subject"], images["other_words"] = (images[name] != row[name] for name in ("subject", "prompt"))
        usable = images[same & ((images["subject"] != "") | ~images["other_words"])]
        usable = usable.sort_values(["other_subject", "other_words"], kind="stable")
        paths = [index.parent / file for file in usable["file"]]
        if not paths or not paths[0].exists():
            what = f"{row['prompt_id']} by {method} with seed {seed} from the words {row['prompt'][:60]!r}"
            remedy = "run notebooks/07_compare.ipynb, or take another seed if the safety checker withheld it"
            raise FileNotFoundError(f"The folder {index.parent} has no picture of {what}: {remedy}.")
        rows.append(row | {"method": method, "file": paths[0]})
    return pd.DataFrame(rows)


def paper_prompts():
    """The paper's ten prompts: DataFrame prompt_id, prompt, subject. Rows that a teacher added are left out.

    They would change every code of the key, and with it what the simulated answers and a class's own mean.
    """
    prompts = pd.read_csv(PROMPTS, dtype=str)
    prompts = prompts[prompts["paper_section"].isin(("4.1", "4.2"))]
    return prompts[["prompt_id", "prompt"]].assign(subject=prompts["method"].map(machine.subjects.SAMPLES))


def own_prompts():
    """The ten prompts about whom notebooks 03 and 04 trained on: a sample's stay, of anybody else as 07 asked for them."""
    prompts, images = paper_prompts(), pd.read_csv(INDEX, keep_default_na=False)
    for method, sample in machine.subjects.SAMPLES.items():
        if (name := machine.subjects.learnt_by(method)) != sample:
            asked = images[(images["method"] == "hypernetwork") & (images["subject"] == name)]
            words = prompts["prompt_id"].map(dict(zip(asked["prompt_id"], asked["prompt"])))
            about = prompts["subject"] == sample
            prompts.loc[about, "prompt"] = words[about].fillna(prompts["prompt"])
            prompts.loc[about, "subject"] = name
    return prompts


def paper_key(seed=SEED):
    """The key of the study that is simulated: the paper's ten prompts by three methods."""
    return make_key(paper_prompts().merge(pd.Series(METHODS, name="method"), how="cross"), seed)


def in_order(methods):
    """Names of methods as tables show them: METHODS, then all others by name."""
    return sorted(methods, key=lambda name: (METHODS.index(name) if name in METHODS else len(METHODS), name))


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


def study_key(seed):
    """(key, where its pictures come from): notebook 07's, coded by `seed`, else the finished set.

    Columns of the key: item, prompt_id, prompt, subject, method, file.
    """
    if not INDEX.exists():
        return finished_key(), "the finished set in data/survey, coded beforehand"
    return make_key(pictures(INDEX, own_prompts(), METHODS), seed), "your own run of notebook 07"


def finished_key():
    """The key of the finished set, with files. Raises FileNotFoundError naming the first picture that is missing."""
    key = pd.read_csv(FINISHED / "key.csv")
    key["file"] = [FINISHED / "pictures" / f"{item}.jpg" for item in key["item"]]
    for path in (path for path in key["file"] if not path.exists()):
        raise FileNotFoundError(f"The picture {path} is missing: make it with `python -m tools.survey_data`.")
    return key


def blind(key, folder, side=512):
    """Write every picture of a key as <item>.jpg, pixels alone: no name, no metadata, no date that tells its method.

    key: as make_key returns it, with a column file. Returns the key with `file` set to the new files.
    Pictures of an older key in the folder are removed, for they would still be shown somewhere.
    """
    paths = [folder / f"{item}.jpg" for item in key["item"]]
    for old in set(folder.glob("*.jpg")) - set(paths):
        old.unlink()
    for source, path in zip(key["file"], paths):
        with machine.atomic_write(path) as partial:
            partial.write_bytes(questionnaire.bare(source, side))
    return key.assign(file=paths)


def references(subjects, count=3):
    """{subject: the first prepared photos}: your own run's, else the finished ones in data/prepared."""
    photos = {}
    for subject in subjects:
        folders = machine.RUNS / "photos" / subject, machine.REPO / "data" / "prepared" / subject
        photos[subject] = next(filter(None, (machine.files.pictures_in(folder)[:count] for folder in folders)), [])
    return photos


def williams(count):
    """Orders of `count` methods: each stands equally often in each place and follows each other equally often.

    Williams, Australian Journal of Scientific Research A 2 (1949): `count` rows if it is even, else twice as many.
    """
    first = [(step + 1) // 2 * (1 if step % 2 else -1) for step in range(count)]
    rows = [[(method + shift) % count for method in first] for shift in range(count)]
    return rows if count % 2 == 0 else rows + [row[::-1] for row in rows]


def make_plan(key, raters, *, prompts=6, pairs=4, duplicates=2, attention=1, seed):
    """One row a screen: rater (from 1), position (from 1), kind (rate, attention, pair), item.

    Every rater sees every method on `prompts` of the prompts, in as many rounds as there are methods; over all raters
    each picture comes equally often in each round, give or take one. `duplicates` of the first round's pictures come
    once more at the end; then `pairs` of pictures of one prompt, whose item is left+right.
    Raises ValueError if there are fewer prompts than a rater should see.
    """
    rng = np.random.default_rng(seed)
    code = key.set_index(["prompt_id", "method"])["item"]
    order = list(rng.permutation(sorted(key["prompt_id"].unique())))
    methods, rows = sorted(key["method"].unique()), []
    if prompts > len(order) or duplicates > prompts:
        raise ValueError(f"There are {len(order)} prompts, {prompts} a rater: ask for fewer prompts or duplicates.")
    square, combinations = williams(len(methods)), list(itertools.combinations(methods, 2))
    for rater in range(raters):
        turns = range(rater * prompts, (rater + 1) * prompts)
        own = {order[turn % len(order)]: square[turn // len(order) % len(square)] for turn in turns}
        rounds = _rounds(own, methods, rng)
        screens = [("rate", code[cell]) for cells in rounds for cell in cells]
        for _ in range(attention):
            screens.insert(rng.integers(1, len(screens)), ("attention", "attention"))
        again = rng.choice(len(rounds[0]), duplicates, replace=False)
        screens += [("rate", code[rounds[0][i]]) for i in again]
        for i, prompt in zip(range(pairs), itertools.cycle(own)):  # every two methods meet equally often
            sides = rng.permutation(combinations[(rater * pairs + i) % len(combinations)])
            screens.append(("pair", "+".join(code[prompt, method] for method in sides)))
        rows += [(rater + 1, position, *screen) for position, screen in enumerate(screens, 1)]
    return pd.DataFrame(rows, columns=["rater", "position", "kind", "item"])


def places(plan, key):
    """How often each picture came first, second, ... of its prompt, over all raters: DataFrame of counts, item by place."""
    rated = plan[plan["kind"] == "rate"].drop_duplicates(["rater", "item"])
    prompts = rated["item"].map(key.set_index("item")["prompt_id"])
    place = rated.groupby(["rater", prompts]).cumcount() + 1
    return pd.crosstab(rated["item"], place.rename("place"))


def _rounds(own, methods, rng):
    """A rater's prompts once in every round; own: {prompt: the order of its methods}."""
    rounds, last = [], None
    for place in range(len(methods)):
        turn = list(rng.permutation(list(own)))
        if turn[0] == last:  # the same words twice in a row would invite comparing from memory
            turn = turn[1:] + turn[:1]
        last = turn[-1]
        rounds.append([(prompt, methods[own[prompt][place]]) for prompt in turn])
    return rounds


def write_plan(folder, key, plan, seed, rules=RULES):
    """Keep the plan before the first answer: plan.csv, rules.json, and key.csv, which no rater may see.

    Raises ValueError if the folder has answers (answers/ or rater-*.csv) to another plan or under other rules.
    """
    study = questionnaire.study_id(plan, key)
    fixed = {"study": study, "seed": seed, "raters": int(plan["rater"].max()), "exclude": rules}
    answered = sorted([*folder.glob("answers/*"), *folder.glob("rater-*.csv")])
    if answered and (folder / "rules.json").exists() and machine.read_json(folder / "rules.json") != fixed:
        stay = f"The file {answered[0]} was answered under the plan and the rules in {folder}, which therefore stay"
        mend = "put the plan and RULES back as they were, or move the answers away and begin a new study."
        raise ValueError(f"{stay}: {mend}")
    for name, table in (("plan.csv", plan), ("key.csv", key.drop(columns="file", errors="ignore"))):
        machine.write_csv(folder / name, table)
    machine.write_json(folder / "rules.json", fixed)


def read_rules(folder):
    """The rules for leaving raters out that write_plan kept before the first answer; they alone may be applied.

    Raises FileNotFoundError if there is no rules.json, ValueError if it has not exactly the rules of RULES.
    """
    path = folder / "rules.json"
    if not path.exists():
        raise FileNotFoundError(f"The file {path} is missing: make the plan first, in notebook 10.")
    rules = machine.read_json(path).get("exclude")
    if not isinstance(rules, dict) or set(rules) != set(RULES):
        raise ValueError(f"The file {path} must have the rules {', '.join(RULES)} in 'exclude': use a copy.")
    return rules
