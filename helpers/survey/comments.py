"""Comments coded by hand, by two people who do not see each other's codes, and how far they agree."""

import pandas as pd

from helpers.survey import pairs

CODES = {  # one a comment: what it is mostly about
    "likeness": "whether it is the person in the photos",
    "words": "whether the picture shows what the words say",
    "look": "style, colours, beauty, sharpness",
    "fault": "something broken: eyes, hands, things that grow where they should not",
    "other": "anything else, or nothing to be made of it",
}


def sheet(table, seed=0):
    """The comments to be coded, in an order that tells nothing: DataFrame comment (c001 ...), value, respondent, item.

    A coder is shown only `value`; which method the picture came from stays behind `item`.
    """
    rows = table[table["question"] == "comment"].sort_values(["item", "respondent", "position"], kind="stable")
    rows = rows.sample(frac=1, random_state=seed)[["value", "respondent", "item"]].reset_index(drop=True)
    rows.insert(0, "comment", [f"c{number:03d}" for number in range(1, len(rows) + 1)])
    return rows


def read_codes(path):
    """One coder's codes {comment: code}. Raises ValueError naming the file and what is wrong with it."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table) != ["comment", "code"]:
        raise ValueError(f"The file {path} must have the columns comment and code, not {', '.join(table)}.")
    strange = table[~table["code"].isin(CODES)]
    if len(strange):
        line, code = strange.index[0] + 2, strange["code"].iloc[0]
        raise ValueError(f"The file {path}, line {line}: there is no code {code!r}; choose from {', '.join(CODES)}.")
    return dict(zip(table["comment"], table["code"]))


def agreement(one, two):
    """Two coders' {comment: code}: dict comments (coded by both), same (share), alpha (Krippendorff's, nominal).

    Alpha takes off what two people would agree on by chance. Raises ValueError if no comment was coded by both.
    """
    both = pd.DataFrame([one, two]).dropna(axis="columns")
    if both.empty:
        raise ValueError("No comment was coded by both coders: let both code the same comments.")
    same = float((both.iloc[0] == both.iloc[1]).mean())
    return {"comments": both.shape[1], "same": same, "alpha": pairs.alpha_of_words(both)}


def crossed(one, two):
    """How often which code met which: DataFrame, first coder in rows, second in columns; the diagonal is agreement."""
    both = sorted(set(one) & set(two))
    first, second = (pd.Categorical([coder[comment] for comment in both], list(CODES)) for coder in (one, two))
    return pd.crosstab(pd.Series(first, name="first coder"), pd.Series(second, name="second coder"), dropna=False)


def by_method(comments, codes, key):
    """How often each code was given to the pictures of each method: DataFrame, codes in rows, methods in columns."""
    methods = comments["item"].map(key.set_index("item")["method"])
    given = pd.Categorical(comments["comment"].map(codes), list(CODES))
    return pd.crosstab(pd.Series(given, name="code"), methods.rename("method"), dropna=False)
