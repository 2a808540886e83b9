"""A slider over ready pictures, as one piece of HTML: no widget, no kernel, no network needed to turn its pages.

So it works in JupyterLab, on Colab, in a saved notebook and on the page that `make run` builds.
"""

import html
import json
from pathlib import Path
from string import Template

from IPython.display import HTML

from helpers.widget_host import data_url

TEMPLATE = Template(Path(__file__).with_name("flipbook.html").read_text(encoding="utf-8"))


def flipbook(images, labels, what, start=0, width=384, milliseconds=250):
    """Show one picture at a time, chosen with a slider, the arrow keys or a Play button. Returns IPython HTML.

    images: PIL images; small ones are enlarged with their pixels showing. labels: the line below each picture, which
    is also read out. what: name of the slider. start: the page that is open at first. width: in pixels.
    Raises ValueError if there are no images, or not one label for each.
    """
    images, labels = list(images), [str(label) for label in labels]
    if not images or len(images) != len(labels):
        raise ValueError(
            f"A flipbook needs one label a picture: there are {len(images)} pictures, {len(labels)} labels."
        )
    start = range(len(images))[start]
    sources = [data_url(image, None, "WEBP", 90) for image in images]
    pages = [{"picture": source, "label": label, "alt": f"{what}: {label}"} for source, label in zip(sources, labels)]
    page = pages[start]
    words = {
        "what": html.escape(what),
        "alt": html.escape(page["alt"]),
        "caption": html.escape(page["label"]),
        "picture": page["picture"],
        "pages": json.dumps(pages).replace("<", "\\u003c"),  # so that no label can end the script
        "rendering": "pixelated" if images[0].width < width / 2 else "auto",
        "last": len(images) - 1,
        "start": start,
        "width": width,
        "milliseconds": milliseconds,
    }
    return HTML(TEMPLATE.substitute(words))
