"""What requests to ``/api/zones`` hold, and what is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from earmark.web.zones.asking import Question

__all__ = [
    "LARGEST",
    "Answer",
    "Asked",
    "AskedOf",
    "Input",
    "Named",
    "Playlists",
    "Row",
    "Sent",
    "TagReport",
    "Tagging",
]

LARGEST = 2000
"""Inputs of one request."""


class Asked(BaseModel):
    """How files are answered: the options of ``earmark predict zones``."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["model", "rules", "rules-first"] = "model"
    run: str | None = Field(
        None,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+\-]*$",
        description="Default: as the command line.",
    )
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    five_way: bool = False
    with_features: bool = False

    def question(self, folder: Path) -> Question:
        """The same for the worker."""
        return Question(folder, self.method, self.run, self.threshold, self.five_way, self.with_features)


PathText = Annotated[str, Field(min_length=1, max_length=4096)]


class Named(BaseModel):
    """Files of the project or of an allowed folder."""

    model_config = ConfigDict(extra="forbid")

    paths: list[PathText] = Field(
        min_length=1,
        max_length=LARGEST,
        description="Files, folders, lists, patterns; relative to the project folder.",
    )


class AskedOf(Asked, Named):
    """Which files, and how they are answered."""

    names: dict[PathText, PathText] = Field(
        {}, description="What to call uploads, by path: the names that they had where they came from."
    )


class Playlists(AskedOf):
    """Which playlists."""

    form: Literal["m3u8", "pls", "xspf"] = "m3u8"
    zone: Literal["YELLOW", "GREEN", "PURPLE", "UNCERTAIN"] | None = Field(
        None, description="Default: a zip of all."
    )


class Tagging(AskedOf):
    """What is done to the tags of which files; the options of ``--write-tags`` and ``--undo``."""

    paths: list[PathText] = Field([], max_length=LARGEST)
    mode: Literal["preview", "write", "undo"]
    overwrite: bool = False
    backup_copy: bool = False
    force: bool = Field(False, description="Also answer files whose tags already carry a zone.")
    which: Literal["last", "all"] = Field("last", description="With undo: the last write, or all.")


class Answer(BaseModel):
    """One input; where it failed, only `path` and `error`."""

    model_config = ConfigDict(extra="allow")

    path: str
    zone: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = {}
    error: str = ""


class Input(BaseModel):
    """A single file that a path leads to, or why there is none."""

    path: str
    error: str | None = None


class Sent(BaseModel):
    """A file that was received, and is kept for a day."""

    path: str = Field(description="How further requests name it.")
    name: str
    n_bytes: int


class Row(BaseModel):
    """An answer as the page's table shows it."""

    path: str = Field(description="How further requests name the file.")
    is_upload: bool
    document: Answer
    energy_variance: float | None = None
    drop_intensity: float | None = None


class TagDocument(BaseModel):
    """What becomes of one file; with preview and write beside its answer, under `tags`."""

    model_config = ConfigDict(extra="allow")

    path: str


class TagReport(BaseModel):
    """What was found or done."""

    counts: dict[str, int]
    documents: list[TagDocument]
    carrying: int = Field(0, description="Files left out because their tags carry a zone already.")
    notes: list[str] = []
