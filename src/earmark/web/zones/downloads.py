"""Files that a browser takes away: playlists, and tagged copies of uploads, each in a folder that is removed after."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from earmark.errors import InputError, UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.web.uploads import FOLDER
from earmark.web.zones.sources import Source

if TYPE_CHECKING:
    from earmark.tasks.zones.tagging.plan import TagReport

__all__ = ["playlist_file", "scratch", "tagged_file"]

Answers = Sequence[tuple[Source | Failed, Prediction | Failed]]


def scratch(state_folder: Path) -> Path:
    """A new folder for one download, beside the uploads; who sends the file removes it."""
    root = state_folder / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    return Path(mkdtemp(dir=root))


def playlist_file(answers: Answers, target: Path, *, form: str, zone: str | None = None) -> Path:
    """A playlist of one zone, or a zip with that of each zone.

    Files of the project stand in it with absolute paths; uploads with the names they had where they came from, so
    that their list works in that folder. Where there are both, the zip has a folder for each.

    Parameters
    ----------
    answers : sequence of (Source or Failed, Prediction or Failed)
    target : Path
        Folder of its own for this download.
    form : {"m3u8", "pls", "xspf"}
    zone : str, optional

    Raises
    ------
    UsageError
        No file has that zone, or files of both kinds have it.
    """
    own, sent = target / "project", target / "uploads"
    found = [(source, outcome) for source, outcome in answers if isinstance(source, Source)]
    of_own = [_at(outcome, source.uri) for source, outcome in found if not source.is_upload]
    of_sent = [_at(outcome, str(sent / outcome.path)) for source, outcome in found if source.is_upload]
    written = _lists(of_own, own, form, relative=False) + _lists(of_sent, sent, form, relative=True)
    if zone is not None:
        written = [path for path in written if path.stem == zone]
    if not written:
        raise UsageError(f"No file is {zone or 'answered'}; a playlist would be empty. Add files first.")
    if len(written) == 1:
        return written[0]
    has_both = len({path.parent for path in written}) > 1
    names = [str(path.relative_to(target)) if has_both else path.name for path in written]
    return _zipped(dict(zip(names, written, strict=True)), target / "playlists.zip")


def tagged_file(answers: Answers, target: Path) -> Path:
    """The tagged copy of an upload, or a zip of those of several; uploads themselves stay as they came.

    Raises
    ------
    InputError
        None of them can be tagged, with the reason of the first.
    UsageError
        A file of the project is among them, which is tagged in its place.
    """
    copies: dict[str, Path] = {}
    reasons: list[str] = []
    for at, (source, outcome) in enumerate(answers):
        if not (isinstance(source, Source) and source.is_upload):
            raise UsageError(
                f"`{outcome.path}` is no upload. Files of the project are tagged in their place: write tags."
            )
        copy = target / str(at) / Path(source.uri).name
        report = _tagged(Path(source.uri), outcome, copy)
        if report.of_status("failed") or not report.of_status("written"):
            change = report.changes[0]
            reasons.append(f"`{outcome.path}`: {change.reason or 'its tags say so already'}.")
        else:
            copies[_free(Path(outcome.path).name, copies)] = copy
    if not copies:
        raise InputError("There is no tagged copy to take away. " + " ".join(reasons[:1]))
    if len(copies) == 1:
        return next(iter(copies.values()))
    return _zipped(copies, target / "tagged.zip")


def _at(outcome: Prediction | Failed, path: str) -> Prediction | Failed:
    return replace(outcome, path=path)


def _lists(outcomes: Sequence[Prediction | Failed], folder: Path, form: str, *, relative: bool) -> list[Path]:
    from earmark.tasks.zones.outputs import write_playlists

    if not any(isinstance(one, Prediction) for one in outcomes):
        return []
    return list(write_playlists(outcomes, folder, formats=[form], relative=relative))


def _tagged(upload: Path, outcome: Prediction | Failed, copy: Path) -> TagReport:
    """Tag a copy, with a journal of its own that goes with it."""
    from earmark.tasks.zones.tagging.plan import plan_tags
    from earmark.tasks.zones.tagging.tags import write_tags

    copy.parent.mkdir()
    if isinstance(outcome, Prediction):
        shutil.copyfile(upload, copy)
    journal = copy.parent / "journal.jsonl"
    plan = plan_tags([_at(outcome, str(copy))], journal=journal, overwrite=True)
    return write_tags(plan, journal=journal)


def _free(name: str, taken: dict[str, Path]) -> str:
    """The name, or with a number where two uploads share it."""
    path, number = Path(name), 2
    while name in taken:
        name, number = f"{path.stem} ({number}){path.suffix}", number + 1
    return name


def _zipped(files: dict[str, Path], target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            archive.write(path, name)
    return target
