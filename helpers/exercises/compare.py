"""The exercises of 07_compare: looking, before anything is counted."""

from helpers.exercises.checks import exercise, letters


@exercise(
    solution='after = "".join(mixed.loc[mixed["model"] == NET, "letter"])',
    wrong='after = "".join(mixed.loc[mixed["model"] != NET, "letter"])',
)
def blind(after, mixed, name):
    """Which of the mixed pictures were made after the training? Letters, in any order; one may be mistaken for another.

    mixed: DataFrame letter, model; name: the trained model's.
    """
    given = letters(after)
    if unknown := sorted(given - set(mixed["letter"])):
        return f"There is no picture {unknown[0]}: the letters stand above the pictures."
    truth = set(mixed.loc[mixed["model"] == name, "letter"])
    if len(given ^ truth) > 2:
        return f"You found {len(given & truth)} of {len(truth)}, and chose {len(given - truth)} others. What do all photos share?"


@exercise(
    solution='asked = trained.address("man riding a horse", ready[DREAM].word)', wrong='asked = "man riding a horse"'
)
def asked(asked, model):
    """How does a DreamBooth model have to be asked for its person on a horse?"""
    name, *class_words = model.word.split()
    words = str(asked).replace(",", " ").split()
    if name not in words:
        return "The model learnt its person under a name, and nobody has said it: the table of models has it."
    if "man" in words and "man" not in class_words:
        return "The name, or the name with its class word, takes the place of the paper's word: one person, one horse."
    if "horse" not in words:
        return "The rest of the prompt stays as it is: where is the horse?"


@exercise(solution="hardest = int(shown.argmin()) + 1", wrong="hardest = 0")
def hardest(column, shown):
    """In which column do the pictures show the person least? Any of the three lowest will do.

    shown: Series, a mean for each column.
    """
    if column not in range(1, len(shown) + 1):
        return f"Give the number of a column, from 1 to {len(shown)}."
    if shown.iloc[column - 1] > sorted(shown)[2]:
        return (
            f"Not column {column}: in three others or more the person is seen less. Look for hair, beard and glasses."
        )


@exercise(solution="least = moved.loc[titles[NET]].idxmin()", wrong="least = moved.loc[titles[NET]].idxmax()")
def least(prompt, row):
    """Which prompt did the hypernetwork change least? row: Series, a mean difference for each prompt."""
    if prompt not in row:
        return f"Write a prompt as it stands above the columns, such as {row.index[0]!r}."
    if row[prompt] != row.min():
        return (
            f"In {prompt!r} a pixel changed by {row[prompt]:.1f} on average; in the pictures of another prompt by less."
        )
