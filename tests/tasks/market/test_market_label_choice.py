"""Which of several label sets a training takes."""

import polars as pl
from series_store import label_rows, sample_rows, write_store

from earmark.store.label_sets import LabelSets
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.obtain import obtain


def test_a_later_set_of_a_few_rows_is_passed_over_and_said(tmp_path):
    rows = sample_rows("ETHUSDT", 900)
    write_store(tmp_path, rows, set_id="all")
    sets = LabelSets(tmp_path / "data" / "feature_store")
    labels = label_rows(rows)
    sets.write("some", labels.head(100), {"name": "fixed"})
    given = {"model_name": "logistic", "sequence_length": 5, "horizon_s": 60}
    found = obtain(tmp_path, train_config(given))
    assert found.prepared.record["source"]["label_set"] == "all"
    assert any("some is newer" in note for note in found.notes)
    sets.write("nearly", labels.filter(pl.int_range(pl.len()) < 890), {"name": "fixed"})
    found = obtain(tmp_path, train_config(given))
    assert found.prepared.record["source"]["label_set"] == "nearly"
