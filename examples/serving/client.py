"""Restores a photograph by a server: TensorFlow Serving, or server.py beside this file.

  python client.py photo.jpg -o sharp.png --rest=http://localhost:8501
  python client.py photo.jpg -o sharp.png --grpc=localhost:8500 --seed=7 --steps=3

REST needs Python alone, gRPC the package tensorflow-serving-api.
"""

from __future__ import annotations

import argparse
import base64
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request
from typing import Any

TIMEOUT = 600.0  # seconds


def wait_until_ready(address: str, model: str = "deblur", seconds: float = 60.0) -> None:
    """Waits until the model is loaded and its warm-up requests are answered.

    Raises:
      TimeoutError: if it is not ready in time.
    """
    deadline, reason = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/v1/models/{model}", timeout=5.0) as answer:
                states = [v["state"] for v in json.load(answer)["model_version_status"]]
            if "AVAILABLE" in states:
                return
            reason = ", ".join(states)
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    raise TimeoutError(f"{address}: not ready after {seconds:g} s ({reason})")


def restore_by_rest(
    photo: bytes, address: str, model: str = "deblur", settings: dict[str, Any] | None = None
) -> bytes:
    """Sends a JPEG or PNG file to a server's REST address; returns the restored PNG file.

    Args:
      photo: content of the file.
      address: such as http://localhost:8501.
      model: name under which the server has the model.
      settings: seed, steps, beta_max and n_samples; None: the model's own.

    Raises:
      RuntimeError: with the server's message, if it refuses the photograph.
    """
    row = {"image_bytes": {"b64": base64.b64encode(photo).decode()}, **(settings or {})}
    signature = "encoded_with_settings" if settings else "encoded"
    body = json.dumps({"signature_name": signature, "instances": [row]}).encode()
    request = urllib.request.Request(f"{address}/v1/models/{model}:predict", body)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return base64.b64decode(json.load(answer)["predictions"][0]["b64"])
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]) from error


def restore_by_grpc(
    photo: bytes, address: str, model: str = "deblur", settings: dict[str, Any] | None = None
) -> bytes:
    """The same by gRPC; `address` is such as localhost:8500."""
    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    types = {"seed": np.int64, "steps": np.int32, "beta_max": np.float32, "n_samples": np.int32}
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "encoded_with_settings" if settings else "encoded"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([photo]))
    for name, value in (settings or {}).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array([value], types[name])))
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            answer = stub.Predict(request, TIMEOUT)
        except grpc.RpcError as error:
            raise RuntimeError(error.details()) from error
    return answer.outputs["restored_bytes"].string_val[0]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", type=pathlib.Path, help="JPEG or PNG file")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="PNG file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--rest", help="address of the REST server, http://host:port")
    where.add_argument("--grpc", help="address of the gRPC server, host:port")
    parser.add_argument("--model", default="deblur")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--n_samples", type=int)
    given = parser.parse_args()
    settings = None
    if (given.seed, given.steps, given.n_samples) != (None, None, None):
        settings = {
            "seed": given.seed or 0,
            "steps": given.steps or 1,
            "beta_max": 0.0,  # fitted to the steps
            "n_samples": given.n_samples or 1,
        }
    photo = given.photo.read_bytes()
    try:
        if given.rest:
            wait_until_ready(given.rest, given.model)
            restored = restore_by_rest(photo, given.rest, given.model, settings)
        else:
            restored = restore_by_grpc(photo, given.grpc, given.model, settings)
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    given.output.write_bytes(restored)
    return 0


if __name__ == "__main__":
    sys.exit(main())
