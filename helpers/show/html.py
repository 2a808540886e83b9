"""Pictures as text that a page shows, widgets on Colab, and a slider over ready pictures without a kernel."""

import base64
import html
import io
import json
import sys
from pathlib import Path
from string import Template

from IPython.display import HTML
from PIL import Image

TEMPLATE = Template(Path(__file__).with_name("flipbook.html").read_text(encoding="utf-8"))


def enable_widgets():
    """On Colab, lets cells show anywidget's widgets; elsewhere nothing is needed."""
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()


def data_url(picture, side=720, kind="JPEG", quality=85):
    """A picture as text that a web page shows. picture: as for `encoded`, or the bytes of a file of that kind."""
    data = picture if isinstance(picture, bytes) else encoded(picture, side, kind, quality)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(data).decode()


def encoded(image, side=None, kind="JPEG", quality=85):
    """The bytes of a PIL image as a file of which nothing is left but the pixels, at most `side` wide and high."""
    image = image.convert("RGB")
    image.thumbnail([side or max(image.size)] * 2)
    file = io.BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(file, kind, quality=quality)
    return file.getvalue()


def flipbook(images, labels, what, start=0, width=384, milliseconds=250):
    """Show one picture at a time, chosen with a slider, the arrow keys or a Play button. Returns IPython HTML.

    images: PIL images; small ones are enlarged with their pixels showing. labels: the line below each picture, which
    is also read out. what: name of the slider. start: the page that is open at first. width: in pixels.
    Raises ValueError if there are no images, or not one label for each.
    """
    images, labels = list(images), [str(label) for label in labels]
    if not images or len(images) != len(labels):
        raise ValueError(f"Give one label for each picture: there are {len(images)} pictures, {len(labels)} labels.")
    start = range(len(images))[start]
    sources = [data_url(image, None, "WEBP", 90) for image in images]
    pages = [{"picture": source, "label": label, "alt": f"{what}: {label}"} for source, label in zip(sources, labels)]
    page = {name: html.escape(text) for name, text in pages[start].items()} | {"what": html.escape(what)}
    numbers = {"start": start, "last": len(images) - 1, "width": width, "milliseconds": milliseconds}
    rendering = "pixelated" if images[0].width < width / 2 else "auto"
    safe = json.dumps(pages).replace("<", "\\u003c")  # so that no label can end the script
    return HTML(TEMPLATE.substitute(page | numbers, rendering=rendering, pages=safe))
