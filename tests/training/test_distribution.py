"""One device, several replicas and several processes give the same weights."""

import json
import os
import signal
import socket

import numpy as np
import pytest
import tensorflow as tf

from deblur_tf.data.input.tensorflow import pair_dataset
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.storage.arrays import read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import distribution, loop
from deblur_tf.training.steppers import check_split, make_stepper
from tests.support import programs
from tests.support.distribution_case import CLIP_NORM
from tests.support.training_case import recipe


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(strategy, run_dir, steps, log, **environment):
    streams = (log, log.with_suffix(".err"))
    arguments = (strategy, run_dir, steps)
    case = "tests.support.distribution_case"
    return programs.start(case, *arguments, streams=streams, env=environment)


def start_workers(run_dir, steps, folder):
    """Two processes over loopback."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    return [
        start(
            "multiworker",
            run_dir,
            steps,
            folder / f"{steps}_{i}.log",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}),
        )
        for i in range(2)
    ]


def newest(run_dir):
    return read_npz(Checkpoints(run_dir).latest())


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max(float(np.abs(a[n] - b[n]).max()) for n in a)


@pytest.mark.slow
def test_every_strategy_gives_the_same_weights(tmp_path):
    """Two replicas begin, two processes resume and finish what one device does alone."""
    made = recipe(total_steps=4, clip_norm=CLIP_NORM)
    loop.train(made, make_stepper(made), made.pairs(), tmp_path / "one")

    mirrored = start("mirrored", tmp_path / "parts", 2, tmp_path / "mirrored.log")
    assert mirrored.wait() == 0, mirrored.err.read_text()
    assert "MirroredStrategy, 2 replicas (2 CPUs)" in mirrored.out.read_text()
    assert int(newest(tmp_path / "parts")["step"]) == 2

    workers = start_workers(tmp_path / "parts", 4, tmp_path)
    for worker in workers:
        assert worker.wait() == 0, worker.err.read_text()
        assert "2 replicas in 2 processes (TF_CONFIG is set)" in worker.out.read_text()
    assert "at step 2" in workers[0].out.read_text()
    assert "step " not in workers[1].out.read_text()  # only the chief reports
    assert largest_difference(newest(tmp_path / "one"), newest(tmp_path / "parts")) < 1e-6


@pytest.mark.slow
def test_a_signal_stops_all_processes_and_a_dead_one_is_reported(tmp_path):
    run_dir = tmp_path / "run"
    workers = start_workers(run_dir, 100_000, tmp_path)
    workers[0].wait_for(" 5/100000")
    workers[1].send_signal(signal.SIGTERM)  # to the one that is not the chief
    assert [w.wait() for w in workers] == [signal.SIGTERM] * 2, workers[0].err.read_text()
    step = int(newest(run_dir)["step"])
    assert step >= 5

    workers = start_workers(run_dir, 100_001, tmp_path)
    workers[0].wait_for(f" {step + 5}/100001")
    assert f"at step {step}" in workers[0].out.read_text()
    workers[1].send_signal(signal.SIGKILL)
    # At once where the connection breaks within a step, else by TensorFlow's health check.
    assert workers[0].wait() == 1
    last = workers[0].err.read_text().splitlines()[-1]
    assert last.startswith("error: another process of the run stopped: no answer from /job:worker")
    assert "Start all processes again" in last
    assert int(newest(run_dir)["step"]) >= step


@pytest.mark.slow
def test_accumulation_gives_the_weights_of_the_whole_batch():
    """4 x 8 equals 32."""
    states = []
    for accumulate in (1, 4):
        made = recipe(batch_size=32, accumulate=accumulate, clip_norm=CLIP_NORM)
        stepper = make_stepper(made)
        batches = stepper.batches(made.pairs(), 0)
        losses = [float(stepper(next(batches), step)["loss"]) for step in range(3)]
        assert int(stepper.optimizer.iterations) == 3  # schedules count optimizer steps
        states.append((stepper.state(3), losses))
    (whole, a), (parts, b) = states
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert largest_difference(whole, parts) < 1e-6


def test_replicas_make_their_own_rows_of_the_batch_and_draw_their_own_noise(model):
    pairs = PairGenerator(crop_size=16)
    whole = next(iter(pair_dataset(pairs, 4, first_step=3)))
    parts = [
        part
        for rows in (range(2), range(2, 4))  # two hosts of two replicas each
        for part in pair_dataset(pairs, 4, 3, rows, part_size=1).take(2)
    ]
    for found, want in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), want)
    noise = [recipe().objective.draw(model, (1, 16, 16, 3), 3, p.item).noise for p in parts]
    assert len({np.asarray(n).tobytes() for n in noise}) == 4


@pytest.mark.parametrize(
    ("batch", "replicas", "accumulate", "message"),
    [
        (256, 3, 1, "cannot be split over 3 replicas; the nearest that can is 255"),
        (4, 8, 1, "nearest that can is 8"),
        (10, 2, 4, "2 x 4 parts .* nearest that can is 8"),
    ],
)
def test_a_batch_that_cannot_be_split_names_the_nearest_that_can(
    batch, replicas, accumulate, message
):
    with pytest.raises(ValueError, match=message):
        check_split(batch, replicas, accumulate)
    check_split(256, 8, 4)


class FakeTpu:
    """Stands for TensorFlow's resolver, system and strategy."""

    def __init__(self, monkeypatch, error=None):
        self.made = []

        def resolver(tpu):
            self.made.append(tpu)
            if error:
                raise error
            return type("Resolver", (), {"master": lambda self: ""})()

        monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
        monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", self.made.append)

        class Strategy:
            num_replicas_in_sync = 8

            def __init__(self, resolver):
                self.resolver = resolver

        monkeypatch.setattr(tf.distribute, "TPUStrategy", Strategy)


def test_auto_takes_a_tpu_where_there_is_one(monkeypatch):
    fake = FakeTpu(monkeypatch)
    monkeypatch.setenv("TPU_NAME", "my-tpu")
    placement = distribution.choose("auto")
    assert placement.replicas == 8
    assert str(placement) == "Strategy, 8 replicas (a TPU is attached)"
    assert fake.made[0] == "my-tpu"
    assert len(fake.made) == 2


@pytest.mark.parametrize("error", [ValueError("no TPU"), tf.errors.NotFoundError(None, None, "no")])
def test_a_tpu_that_is_not_there_is_an_error_only_if_asked_for(monkeypatch, capsys, error):
    FakeTpu(monkeypatch, error)
    monkeypatch.setenv("TPU_NAME", "gone")
    with pytest.raises(distribution.DeviceError, match="no TPU can be initialised"):
        distribution.choose("tpu")
    assert distribution.choose("auto").replicas == 1
    assert "no TPU after all" in capsys.readouterr().out


def test_the_tpu_environment_is_set_before_tensorflow_only_for_a_tpu(monkeypatch):
    for key in (*distribution.TPU_ENVIRONMENT, "TPU_NAME"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(distribution, "tpu_attached", lambda: False)
    distribution.prepare("auto")
    assert "PJRT_DEVICE" not in os.environ
    monkeypatch.setenv("PJRT_DEVICE", "mine")
    distribution.prepare("tpu")
    assert os.environ["PJRT_DEVICE"] == "mine"
    assert os.environ["NEXT_PLUGGABLE_DEVICE_USE_C_API"] == "true"
    for key in distribution.TPU_ENVIRONMENT:
        monkeypatch.delenv(key, raising=False)


def test_what_is_asked_for_and_absent_is_an_error(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(distribution.DeviceError, match="two or more GPUs; this host has 0"):
        distribution.choose("mirrored")
    with pytest.raises(distribution.DeviceError, match="needs the environment variable"):
        distribution.choose("multiworker")
    with pytest.raises(distribution.DeviceError, match="one of auto, tpu"):
        distribution.choose("gpu")
    assert str(distribution.choose("one")) == "one device (CPU; asked for)"
    assert "no TF_CONFIG" in str(distribution.choose("auto"))


def test_tf_config_is_read_or_refused():
    cluster = {"worker": ["a:1", "b:1"]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}})
    assert distribution.cluster_of(text) == (2, False)
    cluster["chief"] = ["c:1"]
    text = json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}})
    assert distribution.cluster_of(text) == (3, True)
    for bad in (
        "{",
        "[]",
        "{}",
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 5}}),
        json.dumps({"cluster": cluster, "task": {"type": "ps", "index": 0}}),
    ):
        with pytest.raises(distribution.DeviceError, match="it must look like"):
            distribution.cluster_of(bad)
