"""Serves an exported model as TensorFlow Serving does, where that cannot be installed.

  pip install tensorflow-serving-api
  deblur-export -m tiny -o exported --warm_up=1280x720
  python server.py --model_base_path=exported

The same protocols, for the same clients: gRPC's PredictionService.Predict and
ModelService.GetModelStatus, REST's GET /v1/models/NAME and POST /v1/models/NAME:predict with rows.
It needs neither Keras nor deblur_tf. It has no batching, no versions side by side and no
reloading; where TensorFlow Serving can be had, use that.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import http.server
import json
import pathlib
import re
import signal
import threading
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

MAX_BYTES = 256 << 20  # of a request
Tensors = dict[str, np.ndarray]


class Refused(Exception):
    """A request that is not answered: status codes of HTTP and gRPC, and a message."""

    def __init__(self, http_code: int, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.http_code, self.code = http_code, code


class Model:
    """The newest version of an exported model.

    Args:
      base_path: folder of numbered versions.
      name: name under which clients ask for it.
      at_once: requests that are computed at the same time.
      waiting: requests that may wait; further ones are refused.
    """

    def __init__(self, base_path: pathlib.Path, name: str, at_once: int, waiting: int):
        versions = [p for p in base_path.iterdir() if p.name.isdecimal()]
        if not versions:
            raise SystemExit(f"error: {base_path}: no version of a model in it, such as 1/")
        self.folder = max(versions, key=lambda path: int(path.name))
        self.name, self.available = name, False
        self._at_once = threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + waiting)
        self.signatures: Any = {}

    def load(self) -> None:
        """Loads the model and answers its warm-up requests, after which it is available."""
        self._loaded = tf.saved_model.load(str(self.folder))
        self.signatures = self._loaded.signatures
        file = self.folder / "assets.extra" / "tf_serving_warmup_requests"
        if file.is_file():
            for record in tf.data.TFRecordDataset(str(file)):
                log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
                request = log.predict_log.request
                self.run(request.model_spec.signature_name, _arrays(request))
        self.available = True

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Computes a signature.

        Raises:
          Refused: if it is not known, its inputs are not right, or too many requests wait.
        """
        found = self._signature(signature)
        wanted = found.structured_input_signature[1]
        if set(inputs) != set(wanted):
            raise _invalid(f"inputs are {sorted(inputs)}, {signature} takes {sorted(wanted)}")
        if not self._places.acquire(blocking=False):
            raise Refused(503, grpc.StatusCode.UNAVAILABLE, "too many requests; try again later")
        try:
            with self._at_once:
                tensors = {name: tf.constant(v, wanted[name].dtype) for name, v in inputs.items()}
                return {name: value.numpy() for name, value in found(**tensors).items()}
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise _invalid(_reason(str(error))) from error
        finally:
            self._places.release()

    def _signature(self, name: str) -> Any:
        if (found := self.signatures.get(name or "serving_default")) is not None:
            return found
        known = ", ".join(sorted(self.signatures)) or "none yet"
        message = f"no signature {name!r}; there are {known}"
        raise Refused(404, grpc.StatusCode.NOT_FOUND, message)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Answers a request of gRPC."""
        self.check(request.model_spec.name)
        answer = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for name, value in self.run(request.model_spec.signature_name, _arrays(request)).items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def predict_rows(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers a request of REST, whose rows have a value of each input."""
        signature = body.get("signature_name", "serving_default")
        rows = body.get("instances")
        if not isinstance(rows, list) or not rows:
            raise _invalid('"instances" must be a list of rows')
        (only, *_) = self._signature(signature).structured_input_signature[1]
        # A signature of one input takes its values without a name.
        rows = [row if isinstance(row, dict) and "b64" not in row else {only: row} for row in rows]
        if any(set(row) != set(rows[0]) for row in rows):
            raise _invalid("all rows must have the same inputs")
        inputs = {name: np.array([_decoded(row[name]) for row in rows]) for name in rows[0]}
        outputs = {
            name: [_encoded(v) for v in values] if name.endswith("_bytes") else values.tolist()
            for name, values in self.run(signature, inputs).items()
        }
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        columns = zip(*outputs.values(), strict=True)
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in columns]}

    def check(self, name: str) -> None:
        """Raises `Refused` if that is not the model's name."""
        if name != self.name:
            raise Refused(404, grpc.StatusCode.NOT_FOUND, f"no model {name!r}; it is {self.name}")

    def status(self) -> str:
        """ "AVAILABLE" or "LOADING"."""
        return "AVAILABLE" if self.available else "LOADING"


def _arrays(request: predict_pb2.PredictRequest) -> Tensors:
    return {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}


def _reason(message: str) -> str:
    """What a check of the model says, out of TensorFlow's account of the graph."""
    found = re.search(r"assertion failed: \[(.*)\]", message)
    return found[1] if found else message.splitlines()[0]


def _invalid(message: str) -> Refused:
    return Refused(400, grpc.StatusCode.INVALID_ARGUMENT, message)


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return value


def _encoded(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


class Grpc(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """The two services of gRPC."""

    def __init__(self, model: Model):
        self._model = model

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return self._model.predict(request)
        except Refused as error:
            context.abort(error.code, str(error))

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            self._model.check(request.model_spec.name)
        except Refused as error:
            context.abort(error.code, str(error))
        answer = get_model_status_pb2.GetModelStatusResponse()
        state = get_model_status_pb2.ModelVersionStatus.State.Value(self._model.status())
        answer.model_version_status.add(version=int(self._model.folder.name), state=state)
        return answer


def rest(model: Model) -> type[http.server.BaseHTTPRequestHandler]:
    """A handler of REST requests."""

    class Rest(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60.0

        def do_GET(self) -> None:
            def status() -> dict[str, Any]:
                model.check(self.path.removeprefix("/v1/models/"))
                version = {"version": model.folder.name, "state": model.status()}
                return {"model_version_status": [version]}

            self._answer(status)

        def do_POST(self) -> None:
            def predict() -> dict[str, Any]:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 < length <= MAX_BYTES:
                    self.close_connection = True
                    raise _invalid(f"a body of 1 to {MAX_BYTES} bytes is needed")
                body = self.rfile.read(length)
                name, _, verb = self.path.removeprefix("/v1/models/").partition(":")
                model.check(name)
                if verb != "predict":
                    raise Refused(404, grpc.StatusCode.NOT_FOUND, f"no method {verb!r}")
                try:
                    given = json.loads(body)
                except (ValueError, RecursionError) as error:
                    raise _invalid(f"the body is no JSON ({error})") from error
                if not isinstance(given, dict):
                    raise _invalid("the body must be an object")
                try:
                    return model.predict_rows(given)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise _invalid(f"rows cannot be read ({error})") from error

            self._answer(predict)

        def _answer(self, make: Any) -> None:
            try:
                code, content = 200, make()
            except Refused as error:
                code, content = error.http_code, {"error": str(error)}
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Rest


class RestServer(http.server.ThreadingHTTPServer):
    """A thread for each connection; as many may wait to be accepted as Linux allows by default."""

    request_queue_size = 4096
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model_base_path", type=pathlib.Path, required=True)
    parser.add_argument("--model_name", default="deblur")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8500, help="of gRPC; 0: any")
    parser.add_argument("--rest_api_port", type=int, default=8501, help="0: any")
    parser.add_argument("--at_once", type=int, default=1, help="requests computed at a time")
    parser.add_argument("--waiting", type=int, default=64, help="requests that may wait")
    given = parser.parse_args()
    model = Model(given.model_base_path, given.model_name, given.at_once, given.waiting)

    threads = given.at_once + given.waiting + 8  # so that further requests are refused at once
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads),
        options=[("grpc.max_receive_message_length", MAX_BYTES)],
    )
    services = Grpc(model)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    port = server.add_insecure_port(f"{given.host}:{given.port}")
    server.start()
    web = RestServer((given.host, given.rest_api_port), rest(model))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    print(f"gRPC at {given.host}:{port}, REST at http://{given.host}:{web.server_port}", flush=True)
    model.load()
    print(f"{model.folder} is available", flush=True)

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    web.shutdown()
    server.stop(grace=30.0).wait()


if __name__ == "__main__":
    main()
