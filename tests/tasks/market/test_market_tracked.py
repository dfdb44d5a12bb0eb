"""What MLflow holds, read back: the newest runs, the best by a score, and life without a database or a server."""

import pytest

from earmark.tasks.market.training.tracked import best_tracked, newest_tracked

SCORES = (0.3, 0.7, 0.5, None, float("nan"))


def test_looking_makes_nothing(tmp_path):
    """A project without a database has no runs, and still none of its own afterwards."""
    found = newest_tracked(tmp_path)
    assert (found.runs, "--mlflow" in found.reason) == ((), True)
    assert not (tmp_path / "data" / "mlflow").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_newest_and_the_best(tmp_path):
    """Runs without the score, or with nan, are never the best; of a loss the lowest is."""
    pytest.importorskip("mlflow", reason='pip install "earmark[track]"')
    from mlflow import MlflowClient

    from earmark.tasks.market.training.tracking import default_uri

    client = MlflowClient(tracking_uri=default_uri(tmp_path))
    experiment = client.create_experiment("model_training")
    for score in SCORES:
        run = client.create_run(experiment, run_name=f"run {score}").info.run_id
        for name in ("val_accuracy", "val_loss") if score is not None else ():
            client.log_metric(run, name, score)
        client.set_terminated(run)
    assert [one["name"] for one in newest_tracked(tmp_path, 2).runs] == ["run nan", "run None"]
    assert [one["name"] for one in best_tracked(tmp_path).runs] == ["run 0.7"]
    assert [one["name"] for one in best_tracked(tmp_path, "val_loss").runs] == ["run 0.3"]
    assert best_tracked(tmp_path, "nothing").runs == ()


def test_a_server_that_is_down_is_told(tmp_path, monkeypatch):
    """The reason names the server without its password."""
    pytest.importorskip("mlflow", reason='pip install "earmark[track]"')
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    found = newest_tracked(tmp_path)
    assert "does not answer" in found.reason
    assert "secret" not in found.reason + str(found.uri)
