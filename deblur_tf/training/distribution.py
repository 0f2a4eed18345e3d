"""Which devices and processes a training run uses, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

from deblur_tf.base.errors import DeviceError, WorkerError

STRATEGIES = ("auto", "tpu", "mirrored", "multiworker", "one")

# Environment variables by which TensorFlow finds a TPU; must be set before it is imported.
TPU_ENVIRONMENT = {
    "PJRT_DEVICE": "TPU",
    "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
    "TF_XLA_FLAGS": (
        "--tf_mlir_enable_mlir_bridge=true "
        "--tf_mlir_enable_convert_control_to_data_outputs_pass=true "
        "--tf_mlir_enable_merge_control_flow_pass=true"
    ),
}


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a run trains.

    Attributes:
      strategy: a tf.distribute strategy; None on JAX.
      reason: why this strategy was chosen, in a few words.
      workers: processes that train together.
      chief: whether this process writes checkpoints and reports.
    """

    strategy: Any = None
    reason: str = "one device"
    workers: int = 1
    chief: bool = True

    @property
    def strategy_name(self) -> str:
        """Name of the strategy's class in TensorFlow's documentation."""
        # MultiWorkerMirroredStrategy gives its class another name.
        return "MultiWorkerMirroredStrategy" if self.workers > 1 else type(self.strategy).__name__

    @property
    def replicas(self) -> int:
        """Devices that share each batch."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def __str__(self) -> str:
        name = "one device" if self.replicas == 1 else self.strategy_name
        count = "" if self.replicas == 1 else f", {self.replicas} replicas"
        count += "" if self.workers == 1 else f" in {self.workers} processes"
        return f"{name}{count} ({self.reason})"


def tpu_attached() -> bool:
    """Whether this host seems to have a TPU; does not need TensorFlow."""
    return bool(os.environ.get("TPU_NAME")) or any(pathlib.Path("/dev").glob("accel*"))


def prepare(name: str = "auto") -> None:
    """Sets the environment for `choose`; call it before importing TensorFlow."""
    if name == "tpu" or (name == "auto" and tpu_attached()):
        for key, value in TPU_ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        with contextlib.suppress(ImportError):
            import libtpu

            os.environ.setdefault("TF_PLUGGABLE_DEVICE_LIBRARY_PATH", libtpu.get_library_path())


def cluster_of(text: str) -> tuple[int, bool]:
    """Number of training processes, and whether this one is the chief, from TF_CONFIG.

    Raises:
      DeviceError: saying what is wrong with TF_CONFIG.
    """
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        jobs = {job: list(cluster.get(job, [])) for job in ("chief", "worker")}
        address = jobs[task["type"]][int(task["index"])]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DeviceError(
            f"TF_CONFIG cannot be used ({type(error).__name__}: {error}); it must look like "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from error
    first = (jobs["chief"] or jobs["worker"])[0]
    return len(jobs["chief"]) + len(jobs["worker"]), address == first


def choose(name: str = "auto") -> Placement:
    """The devices to train on.

    "auto" takes a TPU if there is one, else the processes of TF_CONFIG, else
    all GPUs, else one device. Call it before anything else uses TensorFlow.

    Args:
      name: one of `STRATEGIES`.

    Raises:
      DeviceError: if the devices requested by name are not available.
    """
    import keras

    if name not in STRATEGIES:
        raise DeviceError(f"unknown strategy {name!r}; one of {', '.join(STRATEGIES)}")
    if keras.backend.backend() != "tensorflow":
        if name not in ("auto", "one"):
            raise DeviceError(f"--strategy={name} needs KERAS_BACKEND=tensorflow")
        return Placement(reason="training on JAX uses only one")
    if name == "tpu" or (name == "auto" and tpu_attached()):
        try:
            return _tpu("asked for" if name == "tpu" else "a TPU is attached")
        except DeviceError as error:
            if name == "tpu":
                raise
            print(f"no TPU after all: {error}", flush=True)
    text = os.environ.get("TF_CONFIG")
    if name == "multiworker" or (name == "auto" and text):
        if not text:
            raise DeviceError(
                "--strategy=multiworker needs the environment variable TF_CONFIG in each process"
            )
        return _multiworker(text)
    return _local(name)


def device(kind: str = "auto") -> str:
    """Name of the device that computes, e.g. "NVIDIA H200 (gpu)".

    With "auto", warns if a GPU is attached but not used.

    Args:
      kind: "cpu", "gpu" or "tpu" if the device must be one of these, else "auto".

    Raises:
      DeviceError: if the device is of another kind.
    """
    import keras

    found, name = _jax_device() if keras.backend.backend() == "jax" else _tensorflow_device()
    if kind not in ("auto", found):
        raise DeviceError(
            f"--device={kind}: {keras.backend.backend()} sees no {kind.upper()} and would use "
            f"{name} ({found}); install its build for that device, or use --device=auto"
        )
    if kind == "auto" and found == "cpu" and any(pathlib.Path("/dev").glob("nvidia[0-9]*")):
        print("warning: a GPU is attached, but this run uses the CPU", file=sys.stderr, flush=True)
    return f"{name} ({found})"


def host_memory() -> int | None:
    """Bytes of memory of this machine if the CPU computes; None on an accelerator."""
    import keras

    found, _ = _jax_device() if keras.backend.backend() == "jax" else _tensorflow_device()
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if found == "cpu" else None


def _jax_device() -> tuple[str, str]:
    import jax

    try:
        first = jax.devices()[0]
    except RuntimeError as error:  # JAX_PLATFORMS names a platform that is not available
        raise DeviceError(f"JAX finds no device: {str(error).splitlines()[0]}") from error
    kind = {"cuda": "gpu", "rocm": "gpu"}.get(first.platform, str(first.platform))
    return kind, first.device_kind


def _tensorflow_device() -> tuple[str, str]:
    import tensorflow as tf

    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            physical = tf.config.list_physical_devices(kind)
            details = tf.config.experimental.get_device_details(physical[0]) if physical else {}
            return kind.lower(), details.get("device_name", kind)
    return "cpu", platform.processor() or platform.machine() or "CPU"


def _tpu(reason: str) -> Placement:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=os.environ.get("TPU_NAME", "local")
        )
        if resolver.master():  # a TPU of another host
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        first_line = str(error).splitlines()[0][:100]
        raise DeviceError(f"no TPU can be initialised on this host ({first_line})") from error
    return Placement(tf.distribute.TPUStrategy(resolver), reason)


def _multiworker(text: str) -> Placement:
    import tensorflow as tf

    workers, chief = cluster_of(text)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Placement(strategy, "TF_CONFIG is set", workers, chief)


def _local(name: str) -> Placement:
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "mirrored" and len(devices) < 2:
        raise DeviceError(
            f"--strategy=mirrored needs two or more GPUs; this host has {len(gpus)}. "
            "Use --strategy=one"
        )
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        reason = f"{len(devices)} {devices[0].device_type}s"
        return Placement(tf.distribute.MirroredStrategy([d.name for d in devices]), reason)
    kind = devices[0].device_type
    reason = "asked for" if name == "one" else f"one {kind}, no TPU, no TF_CONFIG"
    return Placement(tf.distribute.get_strategy(), f"{kind}; {reason}")


@contextlib.contextmanager
def worker_errors(placement: Placement) -> Iterator[None]:
    """Within the context, reports a communication error as another process that stopped.

    Raises:
      WorkerError: saying how to continue.
    """
    if placement.workers == 1:
        yield
        return
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    try:
        yield
    except lost as error:
        peer = re.search(r"/job:\w+(?:/replica:\d+)?/task:\d+", str(error))
        raise WorkerError(
            f"another process of the run stopped: no answer from "
            f"{peer.group() if peer else 'one of them'} ({type(error).__name__}). Start all "
            "processes again with the same command: the run continues from its newest checkpoint"
        ) from error
