r"""Latency and throughput of the serving kit, and a load that must lose no request.

  python benchmarks/serving.py
  python benchmarks/serving.py --requests=1000 --load_size=256x192

Exports the model with warm-up requests, starts examples/serving/server.py, and asks it by gRPC over
loopback: first each size, batch and number of clients, then --requests requests of one size by four
clients, with the server's memory as they go on. Prints two tables; relative times are those to one
client with batches of one at the same size.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_MODEL = flags.DEFINE_string("model", "tiny", "See deblur-export.", short_name="m")
_SIZES = flags.DEFINE_list("sizes", ["256x192", "640x480", "1280x720"], "Width and height.")
_BATCHES = flags.DEFINE_list("batches", ["1", "4"], "Pictures in a request.")
_CLIENTS = flags.DEFINE_list("clients", ["1", "4"], "Clients at the same time.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Requests of each client.")
_REQUESTS = flags.DEFINE_integer("requests", 1000, "Requests of the load.")
_LOAD_SIZE = flags.DEFINE_string("load_size", "256x192", "Size of the load's pictures.")
_PRECISION = flags.DEFINE_string("precision", "auto", "See deblur-export.")

KIT = pathlib.Path(__file__).resolve().parents[1] / "examples" / "serving"


def size_of(text: str) -> tuple[int, int]:
    """ "640x480" -> height and width."""
    width, height = text.split("x")
    return int(height), int(width)


class Asker:
    """Sends pictures by gRPC."""

    def __init__(self, address: str):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        options = [("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(address, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def seconds(self, batch: np.ndarray) -> float:
        """The time until the answer for uint8 [B, H, W, 3] is there."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = "deblur"
        request.inputs["image"].CopyFrom(tf.make_tensor_proto(batch))
        start = time.perf_counter()
        answer = self._stub.Predict(request, 600.0)
        taken = time.perf_counter() - start
        shape = [d.size for d in answer.outputs["restored"].tensor_shape.dim]
        assert shape == list(batch.shape), shape
        return taken


def pictures(height: int, width: int, batch: int) -> np.ndarray:
    """uint8 [batch, height, width, 3]."""
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


def table(asker: Asker) -> None:
    """Prints latency and throughput."""
    print("| size | batch | clients | p50 (s) | p95 (s) | pictures/s | relative |")
    print("|---|---|---|---|---|---|---|")
    for size in _SIZES.value:
        first = None
        for batch, clients in itertools.product(_BATCHES.value, _CLIENTS.value):
            images = pictures(*size_of(size), int(batch))
            asker.seconds(images)
            count = int(clients) * _REPEATS.value
            start = time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(int(clients)) as pool:
                times = list(pool.map(lambda _, images=images: asker.seconds(images), range(count)))
            rate = count * int(batch) / (time.perf_counter() - start)
            first = first or rate
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"| {size} | {batch} | {clients} | {p50:.2f} | {p95:.2f} | {rate:.2f} | "
                f"{rate / first:.2f} |",
                flush=True,
            )


def load(asker: Asker, pid: int) -> None:
    """Sends many requests by four clients; prints failures, latency and memory."""
    import psutil

    process, images = psutil.Process(pid), pictures(*size_of(_LOAD_SIZE.value), 1)
    memory, times, failures = {}, [], 0

    def one(_: int) -> float | None:
        try:
            return asker.seconds(images)
        except Exception as error:  # counted, whatever it is
            print(error, file=sys.stderr)
            return None

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, taken in enumerate(pool.map(one, range(_REQUESTS.value)), 1):
            failures += taken is None
            times += [] if taken is None else [taken]
            if number in (1, 100, 250, 500, 750) or number == _REQUESTS.value:
                memory[number] = process.memory_info().rss / 2**20
    p50, p95 = np.percentile(times, [50, 95])
    print(
        f"\n{_REQUESTS.value} requests of {_LOAD_SIZE.value} by four clients: {failures} failures, "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s, {process.num_fds()} file handles at the end"
    )
    print("| requests | " + " | ".join(map(str, memory)) + " |")
    print("|---" * (len(memory) + 1) + "|")
    print("| memory (MiB) | " + " | ".join(f"{m:.0f}" for m in memory.values()) + " |")


def main(argv: Sequence[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as folder:
        exported = f"{folder}/exported"
        command = [sys.executable, "-m", "deblur_tf.bin.export", "-m", _MODEL.value, "-o", exported]
        command += [f"--precision={_PRECISION.value}", f"--warm_up={_LOAD_SIZE.value}"]
        subprocess.run(command, check=True)
        server = subprocess.Popen(
            [sys.executable, KIT / "server.py", f"--model_base_path={exported}", "--port=0"]
            + ["--rest_api_port=0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            found = re.match(r"gRPC at (\S+), ", server.stdout.readline())
            server.stdout.readline()  # it is available
            assert found is not None
            asker = Asker(found[1])
            if _SIZES.value:
                table(asker)
            load(asker, server.pid)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    app.run(main)
