from nearedge.models.training.log import TrainingLog


def test_each_report_is_a_line_and_missing_figures_are_empty(tmp_path):
    log = TrainingLog(tmp_path / "log.csv", resume=False)
    log.add("encoder", 1, {"loss": 1.23456789})
    log.add("denoiser", 250, {"loss": 2.0, "val_loss": 3.0})
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "stage,step,loss,val_loss",
        "encoder,1,1.2346,",
        "denoiser,250,2,3",
    ]


def test_what_is_told_again_after_resuming_replaces_what_was_told(tmp_path):
    first = TrainingLog(tmp_path / "log.csv", resume=False)
    first.add("encoder", 1, {"loss": 1.0})
    first.add("denoiser", 250, {"loss": 2.0})
    again = TrainingLog(tmp_path / "log.csv", resume=True)
    again.add("encoder", 1, {"loss": 1.5})
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[1:] == ["encoder,1,1.5", "denoiser,250,2"]


def test_a_training_that_is_not_resumed_begins_a_new_log(tmp_path):
    TrainingLog(tmp_path / "log.csv", resume=False).add("encoder", 1, {"loss": 1.0})
    TrainingLog(tmp_path / "log.csv", resume=False).add("encoder", 2, {"loss": 2.0})
    assert (tmp_path / "log.csv").read_text().splitlines()[1:] == ["encoder,2,2"]
