"""`earmark label market`: future labels of stored samples, or of legacy json files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.labels.label import LabelRequest
    from earmark.tasks.market.labels.rules import Rule
    from earmark.tasks.market.labels.series import Horizon

__all__ = ["label"]

METHODS = (
    "fixed",
    "fixed_threshold",
    "volatility",
    "sqrt_time",
    "cost",
    "rolling_sigma",
    "triple_barrier",
    "triple_barrier_lob",
)

PARAMETERS = {
    "tp_mult": "tp_mult",
    "sl_mult": "sl_mult",
    "max_hold": "max_hold",
    "tie": "tie",
    "symmetric": "symmetric",
    "vol_scaling": "vol_scaling",
    "dynamic_holding": "dynamic_holding",
    "min_movement": "min_movement",
    "fixed_pct": "per_minute",
    "fees": "fees",
    "sigmas": "sigmas",
}
"""Option -> parameter of a rule."""

_ONLY_OF_GROUPS = (
    "feature_group",
    "start_date",
    "end_date",
    "price_source",
    "max_staleness_s",
    "drop_flat",
)


@command("label")
@click.option(
    "--horizons", help="Seconds, or rows for rolling_sigma and triple_barrier_lob; 10,30,60 by default."
)
@click.option("--start-date", help="First UTC day or ISO time.")
@click.option("--end-date", help="Last UTC day or ISO time, included.")
@click.option(
    "--feature-group",
    default="training_features",
    help="Group of samples; book_steps: ticks of the raw store, raw_lob: states of the raw book.",
)
@click.option("--symbols", help="Names with commas between; all by default.")
@click.option(
    "--method", type=click.Choice(METHODS), default="fixed", help="Rule; see the reference of labels."
)
@click.option(
    "--preset",
    type=click.Choice(["conservative", "aggressive"]),
    help="Widths and holding of triple_barrier.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="[SYMBOL][:SECONDS=]X",
    help="Of fixed, a fraction: 0.0001, BTCUSDT=0.0005, :60=0.002, BTCUSDT:60=0.001; may be repeated (0.001).",
)
@click.option("--tp-mult", type=click.FloatRange(min=0, min_open=True), help="Upper barrier in ATR (1.5).")
@click.option("--sl-mult", type=click.FloatRange(min=0, min_open=True), help="Lower barrier in ATR (1.0).")
@click.option(
    "--max-hold", type=click.IntRange(min=1), help="Time limit in minutes where no horizon is given (24)."
)
@click.option("--symmetric", is_flag=True, default=None, help="Lower barrier as far as the upper one.")
@click.option(
    "--tie", type=click.Choice(["tp", "sl"]), help="What counts where a candle hits both (ambiguous)."
)
@click.option("--vol-scaling", is_flag=True, default=None, help="Widths follow the volatility of the day.")
@click.option("--dynamic-holding", is_flag=True, default=None, help="The time limit follows it inversely.")
@click.option("--min-movement", type=float, help="Least threshold, a fraction (0.0003; of row rules 0.0002).")
@click.option("--fixed-pct", type=float, help="Threshold of sqrt_time for 60 s, in per cent (0.10).")
@click.option("--no-scaling", is_flag=True, help="The same threshold of sqrt_time at every horizon.")
@click.option("--fees", type=float, help="Of cost: fees of a round trip, a fraction (0.0011).")
@click.option("--sigmas", type=float, help="Deviations in a threshold of the row rules (1.0, barriers 1.2).")
@click.option(
    "--drop-flat",
    type=click.FloatRange(0, 1),
    help="Leave out symbols that are neutral more often, e.g. 0.85.",
)
@click.option(
    "--price-source",
    type=click.Choice(["track", "samples", "candles"]),
    default="track",
    help="Where the later price is from; samples where no track was recorded, candles for barriers.",
)
@click.option(
    "--match", type=click.Choice(["nearest", "first"]), default="nearest", help="Which later sample."
)
@click.option(
    "--tolerance-s", type=click.FloatRange(min=0), default=10, help="How far from the horizon it may be."
)
@click.option(
    "--max-staleness-s", type=click.FloatRange(min=0), default=1, help="Longest silence of the track."
)
@click.option("--legacy", is_flag=True, help="Label the json files of the legacy folder instead.")
@click.option(
    "--source", type=click.Path(path_type=Path), help="With --legacy: folder of the files (data/ml_training)."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="With --legacy: write labelled copies here."
)
@click.option(
    "--in-place", is_flag=True, help="With --legacy: replace the json files; originals stay as .json.backup."
)
@click.option(
    "--coding",
    type=click.Choice(["-1/0/1", "0/1/2"]),
    default="-1/0/1",
    help="With --legacy: how down, neutral, up are written.",
)
@click.option("--dry-run", is_flag=True, help="Compute and report, write nothing.")
@click.pass_obj
def label(invocation: Invocation, /, **given: Any) -> int:
    """Compute the labels of samples 10, 30 and 60 s ahead, into a label set beside the features.

    Features are never touched. Another rule makes another set; the same again adds what has become known. Where the
    price of the horizon is not on record, the label is null with a status and never neutral.

    \b
    Examples:
      earmark label market --horizons 10,30,60
      earmark label market --start-date 2025-01-01 --end-date 2025-01-31 --threshold 0.0005
      earmark label market --method triple_barrier --preset conservative
      earmark label market --price-source samples --tolerance-s 10    # migrated data
      earmark label market --legacy --output data/labelled
    """
    from earmark.cli.exclusive import refuse_beside
    from earmark.errors import UsageError

    if given["legacy"]:
        refuse_beside("--legacy", set(given) - set(_ONLY_OF_GROUPS))
        return _label_legacy(invocation, given)
    for name in ("source", "output", "in_place"):
        if given[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} has no effect without --legacy. Add that, or leave it out."
            )
    return _label_group(invocation, given)


def _label_group(invocation: Invocation, given: dict[str, Any]) -> int:
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.labels.label import label_group

    data = invocation.folder / "data"
    with progress(invocation) as tell:
        report = label_group(
            data / "feature_store",
            data / "raw",
            _request(given),
            raw_lob=data / "raw_lob",
            dry_run=given["dry_run"],
            tell=tell,
        )
    emit(invocation, report.coverage, columns=_columns(report.coverage), document=report.to_json())
    for line in _sentences(report, given["dry_run"]):
        note(invocation, line)
    return 0


def _sentences(report: Any, dry_run: bool) -> list[str]:
    lines = [f"Samples: {report.rows}, symbols: {len({row['symbol'] for row in report.coverage})}."]
    for horizon in dict.fromkeys(row["horizon"] for row in report.coverage):
        known = sum(row["ok"] for row in report.coverage if row["horizon"] == horizon)
        lines.append(
            f"future_direction_{horizon}: {known}/{report.rows} labelled ({100 * known / max(report.rows, 1):.1f} %)"
        )
    if report.dropped:
        lines.append(f"Left out as flat: {', '.join(report.dropped)}")
    if report.without_record:
        lines.append(f"Without a recorded price: {', '.join(report.without_record)}")
    if dry_run or report.written is None:
        return [*lines, f"Label set {report.set_id}: nothing written."]
    written = report.written
    return [
        *lines,
        f"Label set {report.set_id}, version {written.version}: {written.added} rows added, {written.completed} "
        f"completed, {written.unchanged} as before.",
    ]


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Those of all rows: counts of a status stand only where it occurs."""
    shares = ["down_pct", "neutral_pct", "up_pct"]
    found = dict.fromkeys(name for row in rows for name in row)
    return [*(name for name in found if name not in shares), *shares]


def _request(given: dict[str, Any]) -> LabelRequest:
    from earmark.tasks.market.labels.label import LabelRequest

    rule = _rule(given)
    return LabelRequest(
        rule=rule,
        horizons=_horizons(given["horizons"], rule),
        group=given["feature_group"],
        source=given["price_source"],
        match=given["match"],
        tolerance_s=given["tolerance_s"],
        max_staleness_s=given["max_staleness_s"],
        start=given["start_date"],
        end=given["end_date"],
        symbols=_names(given["symbols"]),
        drop_flat=given["drop_flat"],
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip().upper() for name in (text or "").split(",") if name.strip()))


def _horizons(text: str | None, rule: Rule) -> tuple[Horizon, ...]:
    from earmark.errors import UsageError
    from earmark.tasks.market.labels.rules import TripleBarrier
    from earmark.tasks.market.labels.series import Horizon

    if text is None and isinstance(rule, TripleBarrier):
        return (Horizon(60 * rule.max_hold),)
    try:
        lengths = sorted({int(part) for part in (text or "10,30,60").split(",")})
    except ValueError:
        raise UsageError(
            f"--horizons {text}: expected whole numbers with commas between, e.g. 10,30,60"
        ) from None
    return tuple(Horizon(length, rule.unit) for length in lengths)


def _rule(given: dict[str, Any]) -> Rule:
    from earmark.errors import UsageError
    from earmark.tasks.market.labels.rules import BARRIER_PRESETS, RULES, with_parameters

    name = "fixed" if given["method"] == "fixed_threshold" else given["method"]
    parameters = {parameter: given[option] for option, parameter in PARAMETERS.items()}
    if parameters["per_minute"] is not None:
        parameters["per_minute"] /= 100
    if given["no_scaling"]:
        parameters["scaling"] = False
    if given["preset"] is not None and name != "triple_barrier":
        raise UsageError(f"--preset {given['preset']} with --method {name}; expected triple_barrier.")
    if given["threshold"]:
        if name != "fixed":
            raise UsageError(f"--threshold with --method {name}; expected fixed. Leave one of them out.")
        return _fixed(given["threshold"])
    rule = BARRIER_PRESETS[given["preset"]] if given["preset"] else RULES[name]()
    return with_parameters(rule, parameters)


def _fixed(thresholds: tuple[str, ...]) -> Rule:
    from earmark.errors import UsageError
    from earmark.tasks.market.labels.rules import Fixed

    general, overrides = Fixed.threshold, []
    for text in thresholds:
        where, _, value = text.rpartition("=")
        symbol, _, seconds = where.partition(":")
        try:
            number = float(value)
            length = int(seconds or 0)
        except ValueError:
            raise UsageError(
                f"--threshold {text}: expected a fraction, alone or as SYMBOL=X, :SECONDS=X or SYMBOL:SECONDS=X."
            ) from None
        if not 0 <= number < 1 or length < 0:
            raise UsageError(f"--threshold {text}: expected a fraction from 0 to below 1; 0.001 is 0.1 %.")
        if where:
            overrides.append((symbol.upper(), length, number))
        else:
            general = number
    return Fixed(general, tuple(sorted(overrides)))


def _label_legacy(invocation: Invocation, given: dict[str, Any]) -> int:
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.legacy.labelling import label_folder

    source = invocation.folder / "data/ml_training" if given["source"] is None else given["source"]
    with progress(invocation) as tell:
        report = label_folder(
            source,
            _request({**given, "price_source": "samples"}),
            coding=given["coding"],
            output=given["output"],
            in_place=given["in_place"],
            dry_run=given["dry_run"],
            tell=tell,
        )
    emit(invocation, report.coverage, columns=_columns(report.coverage), document=report.to_json())
    note(invocation, f"{report.files} json files of {report.rows} samples labelled.")
    return 0
