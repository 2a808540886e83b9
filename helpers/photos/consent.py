"""Consent: nobody's photos are trained on without it."""

from datetime import date
from pathlib import Path

from helpers import machine


def check_consent(folder):
    """Read folder/consent.json: who is shown, what for, until when.

    On another machine, to which only the squares were taken, the copy beside them counts.
    Raises FileNotFoundError if there is none, ValueError if it is incomplete or its time is over.
    """
    path, taken = Path(folder) / "consent.json", machine.RUNS / "photos" / Path(folder).name / "consent.json"
    if not path.parent.exists() and taken.exists():
        path = taken
    if not path.exists():
        form = '{"who": "...", "what_for": "...", "until": "2027-06-30"}'
        mend = f"ask the person in the photos, and fill in the form of notebook 01 together, or write there {form}."
        raise FileNotFoundError(f"There is no {path}: {mend}")
    return _checked(machine.read_json(path), path)


def check_squares(folder):
    """Consent for a folder of squares, wherever they came from: in it, beside it, or in data/subjects under its name.

    Raises as check_consent.
    """
    folder = Path(folder).resolve()
    places = [folder, folder.parent, machine.subjects.folder(folder.name)]
    return check_consent(next((place for place in places if (place / "consent.json").exists()), folder))


def _checked(consent, path):
    missing = [key for key in ("who", "what_for", "until") if not isinstance(consent, dict) or not consent.get(key)]
    if missing:
        raise ValueError(f"{path} does not say {', '.join(missing)}: ask the person in the photos and write it down.")
    try:
        until = date.fromisoformat(consent["until"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"In {path}, until is {consent['until']!r}: write a day such as 2027-06-30.") from error
    if until < date.today():
        raise ValueError(f"The consent in {path} ended on {until}: ask again, or delete the photos.")
    return consent


def given(folder):
    """Whether there is valid consent for the photos in a folder; prints what is missing if not."""
    try:
        check_consent(folder)
    except (FileNotFoundError, ValueError) as error:
        print(f"{Path(folder).name} is left out. {error}")
        return False
    return True


def write_consent(folder, who, what_for, until):
    """Write folder/consent.json, to be filled in together with the person in the photos.

    who: their name, or a word for them; until: a day such as "2027-06-30".
    Raises ValueError, and writes nothing, if something is missing or the day is over.
    """
    path = Path(folder) / "consent.json"
    consent = {"who": who.strip(), "what_for": what_for.strip(), "until": str(until)}
    machine.write_json(path, _checked(consent, path))


def consent_form(folder):
    """A form that writes folder/consent.json, an ipywidgets box; for the person in the photos to fill in."""
    import ipywidgets as widgets

    who = widgets.Text(description="who", placeholder="your name", continuous_update=False)
    purpose = "learning how Stable Diffusion is personalised"
    what_for = widgets.Textarea(description="what for", value=purpose, continuous_update=False)  # sent when left
    until = widgets.DatePicker(description="until")
    agreed = widgets.Checkbox(description="I am in these photos, and I agree.")
    save, status = widgets.Button(description="Save"), widgets.Label(f"For the photos in {Path(folder).as_posix()}.")

    def write(_):
        try:
            if not agreed.value:
                raise ValueError("Nothing is saved without the tick.")
            write_consent(folder, who.value, what_for.value, until.value or "")
            status.value = "Saved: run the cell again. To take it back, delete consent.json and the photos."
        except (ValueError, OSError) as error:
            status.value = str(error)

    save.on_click(write)
    return widgets.VBox([who, what_for, until, agreed, save, status])
