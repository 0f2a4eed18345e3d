"""Requests that TensorFlow Serving answers before it says that a model is available.

The first request of each size is slow: TensorFlow chooses its kernels then.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Where TensorFlow Serving looks, below a version's folder.
WARM_UP_FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")


def write_requests(version: pathlib.Path, sizes: Sequence[tuple[int, int]]) -> pathlib.Path:
    """Writes a request for each size to each of the two signatures without settings.

    Args:
      version: folder of a version of an exported model.
      sizes: width and height in pixels.

    Returns:
      The file, of records that hold a PredictionLog each.

    Raises:
      ModuleNotFoundError: if tensorflow-serving-api is not installed.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = version / WARM_UP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as records:
        for width, height in sizes:
            noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
            inputs = {
                "serving_default": ("image", noise[None]),
                "encoded": ("image_bytes", [tf.io.encode_png(noise).numpy()]),
            }
            for signature, (name, value) in inputs.items():
                request = predict_pb2.PredictRequest()
                request.model_spec.signature_name = signature
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                records.write(log.SerializeToString())
    return file
