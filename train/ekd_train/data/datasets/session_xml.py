"""Parsing of HCI-Tagging's session.xml with defusedxml, which refuses DTDs and entities."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import DataError

__all__ = ["FELT", "Session", "read_session"]

FELT: Mapping[str, str] = {
    "arousal": "feltArsl",
    "valence": "feltVlnc",
    "control": "feltCtrl",
    "predictability": "feltPred",
}
"""The XML attribute of each rating."""

_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Session:
    """Metadata of one session.

    subject: such as "p07". stimulus: whether a stimulus was shown. media: file name of the stimulus, or "".
    ratings: by names as in `FELT`; None if one is not within 1 to 9.
    """

    subject: str
    stimulus: bool
    media: str
    ratings: Mapping[str, float] | None


def read_session(path: Path) -> Session:
    """Read a session.xml.

    Raises DataError for XML that is not well-formed, for any DTD (because it can have entity bombs and references to
    other files), and if the subject is missing.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} is too large for a session.xml: replace it or remove its folder")
        root = fromstring(path.read_bytes(), forbid_dtd=True)
    except DefusedXmlException as error:
        kind = type(error).__name__
        raise DataError(f"{path} has a DTD ({kind}), which is not allowed: remove its folder") from None
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is not well-formed XML ({error}): copy it again or remove its folder") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): copy it again or remove its folder") from error
    person = root.find("subject")
    number = "" if person is None else (person.get("id") or "").strip()
    if not (number.isascii() and number.isdigit()):
        raise DataError(f"{path} has no subject with a number as its id: copy it again or remove its folder")
    return Session(
        subject=f"p{int(number):02d}",
        stimulus=root.get("isStim", "1").strip().lower() not in ("0", "false"),
        media=(root.get("mediaFile") or "").strip(),
        ratings=_ratings(root.attrib),
    )


def _ratings(attributes: Mapping[str, str]) -> Mapping[str, float] | None:
    ratings = {}
    for target, attribute in FELT.items():
        text = attributes.get(attribute, "").strip()
        if text:
            try:
                ratings[target] = float(text)
            except ValueError:
                ratings[target] = math.nan
    return ratings if all(1 <= rating <= 9 for rating in ratings.values()) else None
