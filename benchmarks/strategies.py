"""Which training strategy is worth it: scored tracks of two genres, tracks of two others as the second source.

    python benchmarks/strategies.py SONGS [--work FOLDER] [--algorithms xgboost,random_forest] [--draws 5]

SONGS is a folder with ``labels.csv`` of the columns ``file, track_id, genre, energy, zone, joyful_activation,
tenderness, sadness, tension``. Tracks of `--own` genres are the scored ones, with the zones of their listeners. Those
of the other genres become a tree of DEAM's shape: their audio as links, an arousal on the scale 1 to 9 from ``energy``
and a valence from the shares of pleasant and unpleasant feelings; their zones come from the mapping, not from the
listeners. Then ``prepare``, ``extract`` and ``train --strategy all`` run as a user would run them; the sealed test set
is not opened. With `--draws` all strategies are
scored again on folds drawn anew, since one division of fifty tracks is one throw of a die.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from earmark.cli.strategy_options import chosen_strategies
from earmark.evaluation.domain_shift import domain_shift
from earmark.tasks.project import Project
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.strategies import compare_strategies, drawn_scores, sentence_of
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.tasks.zones.deam.annotations import ANNOTATION_FILES, ANNOTATION_FOLDER


def read_songs(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def on_scale(values: np.ndarray) -> np.ndarray:
    """Ranks on the scale 1.6 to 8.1, which DEAM's averages cover."""
    rank = np.argsort(np.argsort(values)) / max(1, len(values) - 1)
    return np.asarray(1.6 + 6.5 * rank)


def write_tree(songs: list[dict[str, str]], source: Path, tree: Path) -> None:
    """Annotations and linked audio of the second source, in DEAM's layout."""
    arousal = on_scale(np.array([float(song["energy"]) for song in songs]))
    pleasant = [float(s["joyful_activation"]) + float(s["tenderness"]) for s in songs]
    unpleasant = [float(s["sadness"]) + float(s["tension"]) for s in songs]
    valence = on_scale(np.array(pleasant) - np.array(unpleasant))
    annotations = tree / ANNOTATION_FOLDER
    annotations.mkdir(parents=True)
    (tree / "MEMD_audio").mkdir()
    header = "song_id, valence_mean, valence_std, arousal_mean, arousal_std"
    lines = []
    for number, (song, a, v) in enumerate(zip(songs, arousal, valence, strict=True), start=2):
        lines.append(f"{number}, {v:.2f}, 1.00, {a:.2f}, 1.00")
        audio = source / song["file"]
        (tree / "MEMD_audio" / f"{number}{audio.suffix}").symlink_to(audio.absolute())
    (annotations / ANNOTATION_FILES[0]).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    (annotations / ANNOTATION_FILES[1]).write_text(header + "\n", encoding="utf-8")


def write_labels(songs: list[dict[str, str]], source: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "zone"])
        writer.writerows([str((source / song["file"]).absolute()), song["zone"]] for song in songs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--work", type=Path, help="project folder to use and keep (default: a temporary one)")
    parser.add_argument("--own", default="electronic,rock", help="genres of the scored tracks")
    parser.add_argument("--features", default="texture")
    parser.add_argument("--algorithms", default="xgboost,random_forest")
    parser.add_argument("--metric", default="balanced_accuracy")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        songs, genres = read_songs(options.songs), set(options.own.split(","))
        own = [song for song in songs if song["genre"] in genres]
        other = [song for song in songs if song["genre"] not in genres]
        if not (work / "deam").exists():
            write_tree(other, options.songs, work / "deam")
            write_labels(own, options.songs, work / "labels.csv")
        project = Project.open("zones", work)
        prepared = prepare(project, [work / "labels.csv"], options={"deam": work / "deam"})
        print(
            f"{prepared.n_train} scored rows to train, {prepared.n_test} sealed, {len(other)} of the other source"
        )
        chosen = TrainOptions(
            features=options.features,
            algorithms=tuple(options.algorithms.split(",")),
            metric=options.metric,
            strategies=chosen_strategies(["all"]),
            skip_impossible=True,
        )
        trained = train(project, chosen)
        drawn = drawn_scores(project, trained, chosen, options.draws) if options.draws else None
        table = compare_strategies(trained.runs, trained.dataset, trained.metric, drawn=drawn)
        print("  ".join(name for name in table[-1].to_row() if name != "run"))
        for row in table:
            print("  ".join(str(value) for name, value in row.to_row().items() if name != "run"))
        print(sentence_of(table))
        if trained.auxiliary is not None:
            print(domain_shift(trained.dataset, trained.auxiliary).sentence())


if __name__ == "__main__":
    main()
