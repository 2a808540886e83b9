"""Whether widgets of our own run here, and what they share: pictures as text, an escape for their own keys."""

import base64
import importlib.util
import io
import sys


def custom_widgets():
    """True where anywidget's widgets can be shown; on Colab this switches them on.

    Elsewhere the editors are put together from ipywidgets' own sliders and fields.
    """
    if not importlib.util.find_spec("anywidget"):
        return False
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()
    return True


def data_url(image, side=720):
    """A picture of at most side x side pixels as text that a web page shows, JPEG, without metadata."""
    small = image.copy()
    small.thumbnail((side, side), reducing_gap=2)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(small)).decode()


def jpeg(image):
    """The bytes of an RGB image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
