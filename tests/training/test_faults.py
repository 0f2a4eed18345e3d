"""What happens to a run when something breaks: a clear line, and a usable directory."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, SaveError
from deblur_tf.data.pair_source import PairSource
from deblur_tf.storage.arrays import read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import loop
from deblur_tf.training.run_log import RunLog
from deblur_tf.training.steppers import make_stepper
from tests.support.programs import run
from tests.support.training_case import SMALL, recipe


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def train_program(run_dir, *arguments, **settings):
    small = ["--gin_param=TOTAL_STEPS = 3", "--gin_param=WARMUP_STEPS = 1"]
    small += ["--gin_param=Recipe.checkpoint_every = 2", *SMALL]
    flags = ["--gin_file=smoke.gin", f"--run_dir={run_dir}", *small, *arguments]
    return run("train", *flags, eager=True, **settings)


class BadPair(PairSource):
    """Pairs whose number 9 cannot be read."""

    crop_size = 16

    def __init__(self, make_pair, broken):
        self.make_pair, self.broken = make_pair, broken

    def __call__(self, index):
        if self.broken and index == 9:
            raise DataError("photos/9.png: cannot be read as an image (truncated)")
        return self.make_pair(index)


@pytest.mark.slow
def test_an_unreadable_image_stops_the_run_and_loses_nothing(eager_steps, tmp_path):
    made = recipe(checkpoint_every=100)
    stepper = make_stepper(made)
    with pytest.raises(DataError, match=r"photos/9\.png: cannot be read"):
        loop.train(made, stepper, BadPair(made.pairs(), True), tmp_path / "run")
    # Pair 9 is of the third batch: two steps were done.
    assert int(read_npz(Checkpoints(tmp_path / "run").latest())["step"]) == 2
    assert loop.train(made, stepper, BadPair(made.pairs(), False), tmp_path / "run") == 0
    assert int(read_npz(Checkpoints(tmp_path / "run").latest())["step"]) == 6


def test_a_checkpoint_that_cannot_be_written_names_file_and_newest(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": np.int64(1)})

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    for save in (checkpoints.save, lambda state: checkpoints.save_best(state, 1.0)):
        with pytest.raises(SaveError, match=r"No space left on device.*step_00000001\.npz"):
            save({"step": np.int64(2)})
    assert [p.name for p in checkpoints.folder.iterdir()] == ["step_00000001.npz"]


@pytest.mark.slow
def test_a_full_disk_ends_the_program_with_one_line(tmp_path):
    """The system refuses files above a size, as it does on a full disk."""
    photo(tmp_path / "photos" / "a.png", 0)
    settings = (tmp_path / "run", f"--photos={tmp_path / 'photos'}")

    result = train_program(*settings, file_limit=100_000)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error:")
    assert "step_00000002.npz: could not be written (File too large)" in last
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    result = train_program(*settings)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_ten_kills_at_random_moments(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_case", tmp_path, "10", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 kills survived of 10; largest difference 0.0" in result.stdout


def test_the_best_checkpoint_is_kept_and_found_again(tmp_path):
    for scores, best in (((1.0, 3.0, 2.0), 2), ((2.5, 3.0), 2), ((4.0,), 1)):
        checkpoints = Checkpoints(tmp_path)  # as after a restart
        for step, score in enumerate(scores, 1):
            checkpoints.save_best({"step": np.int64(step)}, score)
        assert int(read_npz(checkpoints.best)["step"]) == best
    assert checkpoints.all() == []
    assert float(read_npz(checkpoints.best)["score"]) == 4.0
    assert not checkpoints.save_best({"step": np.int64(9)}, float("nan"))


def test_a_record_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    report = RunLog(tmp_path, 10, 0)
    (tmp_path / "metrics.jsonl").mkdir()
    report.progress(1, {"loss": 1.0})
    report.close()
    captured = capsys.readouterr()
    assert "step  1/10" in captured.out
    assert "not recorded" in captured.err


def test_records_of_steps_that_are_done_again_are_dropped(tmp_path):
    report = RunLog(tmp_path, 10, 0)
    for step in (2, 4, 6):
        report.progress(step, {"loss": float(step)})
    report.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')  # a kill in the middle of a line
    RunLog(tmp_path, 10, 4).close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ['{"step": 2', '{"step": 4']


def test_two_trainings_do_not_share_a_folder(tmp_path):
    """The second would resume from the first one's step, and prune its checkpoints."""
    code = (
        "import sys, time; from deblur_tf.base.locks import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        flags = ["--gin_file=smoke.gin", f"--run_dir={tmp_path}", *SMALL]
        result = run("train", *flags, "--gin_param=TOTAL_STEPS = 2", "--gin_param=WARMUP_STEPS = 1")
        assert result.returncode == 2
        assert f"process {other.pid} on" in result.stderr
        assert "is writing there; wait for it, or give another folder" in result.stderr
        assert list(tmp_path.iterdir()) == []
        other.kill()
