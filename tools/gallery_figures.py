"""Pieces of the gallery: pictures, tables and bars as HTML that needs no other file."""

import base64
import html
import io

from PIL import Image


def data_uri(image, side=480):
    """(data URI, width, height) of a PIL image as WebP, at most `side` pixels wide and high; no metadata."""
    image = image.convert("RGB")
    image.thumbnail((side, side))
    data = io.BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(data, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode(), *image.size


def on_white(image):
    """Figures with a transparent ground would be unreadable on a dark page."""
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def picture(image, caption="", side=480, alt=None):
    """An HTML figure with the image inside it, at most `side` pixels wide and high; alt: the caption, if not given."""
    source, width, height = data_uri(image, side)
    words = html.escape(str(caption))
    below = f"<figcaption>{words}</figcaption>" if words else ""
    told = html.escape(str(caption if alt is None else alt))
    return f'<figure><img src="{source}" alt="{told}" width="{width}" height="{height}" loading="lazy">{below}</figure>'


def opened(image):
    """A PIL image, given one or the path of one."""
    return image if isinstance(image, Image.Image) else Image.open(image)


def pictures(items, style, alt=None):
    """A group of figures; items: (image or path of one, caption); style: a class of the page; alt: of all."""
    shown = [picture(opened(image), words, alt=alt) for image, words in items]
    return f'<div class="{style}">{"".join(shown)}</div>' if shown else ""


def pairs(befores, afters, alt):
    """Pairs of pictures, the earlier above the later, each pair kept together on every width of page."""
    cells = []
    for number, (before, after) in enumerate(zip(befores, afters), 1):
        above = picture(opened(before), alt=f"{alt}, before, pair {number}")
        below = picture(opened(after), alt=f"{alt}, after, pair {number}")
        cells.append(f'<div class="pair">{above}{below}</div>')
    return f'<div class="tiles six">{"".join(cells)}</div>' if cells else ""


def section(title, sentence, body, level=2, anchor=""):
    """A headed part of the page, or nothing if it has nothing to show."""
    words = f"<p>{sentence}</p>\n" if sentence else ""
    name = f' id="{anchor}"' if anchor else ""
    return f"<h{level}{name}>{title}</h{level}>\n{words}{body}\n" if body else ""


def table(frame):
    """A table as it stands, that scrolls by itself where the page is narrow. frame: a pandas DataFrame."""
    cells = frame.fillna("").to_html(index=False, border=0, justify="left")
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table">{cells}</div>' if len(frame) else ""


def bars(table):
    """One bar a row, grouped by prompt, with its interval as a thin line.

    table: columns prompt, method, mean, low, high (0..1) and words, which stand beside the bar.
    """
    groups = []
    for prompt, rows in table.groupby("prompt", sort=False):
        lines = "".join(_bar(row) for row in rows.itertuples())
        groups.append(f'<div class="row"><strong>&ldquo;{html.escape(prompt)}&rdquo;</strong>{lines}</div>')
    return "".join(groups)


def _bar(row):
    mean, low, high = (100 * max(0.0, min(1.0, value)) for value in (row.mean, row.low, row.high))
    name, words = html.escape(str(row.method)), html.escape(str(row.words))
    track = f'<b class="{name.replace(" ", "-")}" style="width:{mean:.1f}%"></b>'
    track += f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
    return f'<div class="bar"><span>{name}</span><span class="track">{track}</span><span>{words}</span></div>'
