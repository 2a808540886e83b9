import csv
from pathlib import Path

PROMPTS = Path(__file__).parents[1] / "data" / "prompts.csv"

# Sections 4.1 and 4.2 of the paper, letter for letter.
HYPERNETWORK = [
    "Man riding a horse, facing camera",
    "Portrait of a man, trending on artstation, greg rutkowski, 4k",
    (
        "Man made of fire, intricate heat distortion designs, elegant, highly detailed, sharp focus, "
        "art by Artgerm and Greg Rutkowski and WLOP"
    ),
    "Chibi man figurine, modern Disney style",
    (
        "Man with a majestic beard, closeup, D&D, fantasy, intricate, elegant, highly detailed, digital painting, "
        "artstation, concept art, matte, sharp focus, illustration, art by Artgerm, Greg Rutkowski, Alphonse Mucha"
    ),
]
DREAMBOOTH = [
    "nesrelah_001 on a horse",
    (
        "Highly detailed marble and jade sculpture of nesrelah_001, volumetric fog, Hyperrealism, breathtaking, "
        "ultra realistic, unreal engine, ultra detailed, cyber background, Hyperrealism, cinematic lighting, "
        "highly detailed, breathtaking, photography, stunning environment, wide-angle [cgi, 3d, doll, octane, render, "
        "bad anatomy, blurry, fuzzy, extra arms, extra fingers, poorly drawn hands, disfigured, tiling, deformed, mutated]"
    ),
    (
        "Portrait of nesrelah_001, dramatic lighting, illustration by greg rutkowski, yoji shinkawa, 4k, digital art, "
        "concept art, trending on artstation"
    ),
    (
        "An epic fantastic realism comic book style portrait painting of nesrelah_001 robot with kanji tattoos and decals, "
        "apex legends, octane render, intricate detail, 4 k hd, unreal engine 5, ex machina, irobot, gerald brom"
    ),
    "Chibi nesrelah_001 figurine, Disney style",
]


def test_the_ten_prompts_are_the_papers():
    rows = list(csv.DictReader(PROMPTS.open(encoding="utf-8")))
    expected = [(f"hypernetwork_{i}", "hypernetwork", "4.1", prompt) for i, prompt in enumerate(HYPERNETWORK, 1)]
    expected += [(f"dreambooth_{i}", "dreambooth", "4.2", prompt) for i, prompt in enumerate(DREAMBOOTH, 1)]
    assert list(rows[0]) == ["prompt_id", "method", "paper_section", "prompt"]
    assert all(None not in row and None not in row.values() for row in rows)
    assert [tuple(row.values()) for row in rows if row["paper_section"] in ("4.1", "4.2")] == expected
    others = [row for row in rows if row["paper_section"] not in ("4.1", "4.2")]  # a teacher's own
    assert len({row["prompt_id"] for row in rows}) == len(rows)
    assert not {row["prompt"] for row in others} & {*HYPERNETWORK, *DREAMBOOTH}
