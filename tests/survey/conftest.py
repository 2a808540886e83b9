"""A small study that is handed out."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.survey import design


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The paper's prompts by three methods; every picture carries its method in name, metadata and settings."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    table = design.paper_prompts().merge(pd.Series(design.METHODS, name="method"), how="cross")
    table["prompt"] = "</script><b>&</b> " + table["prompt"]  # which no page may take for its own
    files = []
    for row in table.itertuples():
        image = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((40, 40))
        exif = image.getexif()
        exif[0x010E] = f"{row.method} amir stable diffusion"
        files.append(folder / f"{row.method}-{row.prompt_id}.png")
        image.save(files[-1], exif=exif)
    key = design.make_key(table.assign(file=files), 4)
    plan = design.make_plan(key, 3, prompts=2, pairs=2, duplicates=1, seed=4)
    return key, plan, {"amir": files[:2], "nesrelah": files[2:4]}
