"""Consent: nobody's photos are trained on without it."""

from datetime import date
from pathlib import Path

from helpers.files import read_json


def check_consent(folder):
    """Read folder/consent.json: who is shown, what for, until when.

    Raises FileNotFoundError if there is none, ValueError if it is incomplete or its time is over.
    """
    path = Path(folder) / "consent.json"
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}: ask the person in the photos, then write there who, what_for and until (2027-06-30)."
        )
    consent = read_json(path)
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
