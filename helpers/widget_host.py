"""What widgets and pages share: pictures as text."""

import base64
import io
import sys

from PIL import Image


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
    if side:
        image.thumbnail((side, side))
    file = io.BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(file, kind, quality=quality)
    return file.getvalue()
