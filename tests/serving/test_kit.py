"""The serving kit of examples/: a real server, its client, warm-up requests, and a load."""

import concurrent.futures
import contextlib
import http.server
import importlib.util
import io
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from tests.support import ROOT
from tests.support.serving import blocks, picture

pytest.importorskip("tensorflow_serving")
KIT = ROOT / "examples" / "serving"


def module(name):
    spec = importlib.util.spec_from_file_location(f"serving_kit_{name}", KIT / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


client = module("client")


class Server:
    """A running server process."""

    def __init__(self, folder, *arguments):
        command = [sys.executable, KIT / "server.py", f"--model_base_path={folder}"]
        command += ["--port=0", "--rest_api_port=0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        self.grpc, self.rest = re.fullmatch(r"gRPC at (\S+), REST at (\S+)\n", line).groups()


@pytest.fixture(scope="module")
def server(exported):
    made = Server(exported[0], "--waiting=8")
    client.wait_until_ready(made.rest, seconds=60.0)
    yield made
    made.process.terminate()
    assert made.process.wait(60) == 0


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


SETTINGS = {"seed": 7, "steps": 3, "beta_max": 0.0, "n_samples": 2}


@pytest.mark.parametrize("settings", [None, SETTINGS], ids=["own", "given"])
def test_the_client_gets_what_python_gets(exported, server, settings):
    deblurrer, image = exported[1], picture(21, 18)
    chosen = {} if settings is None else {"seed": 7, "steps": 3, "n_samples": 2}
    want = deblurrer.restore(image, always=True, **chosen)
    for restore, address in (
        (client.restore_by_rest, server.rest),
        (client.restore_by_grpc, server.grpc),
    ):
        found = pixels_of(restore(png(image), address, settings=settings))
        assert np.abs(found - want).max() <= 1


def test_the_client_as_a_program(server, tmp_path):
    (tmp_path / "photo.png").write_bytes(png(picture(21, 18)))
    command = [sys.executable, KIT / "client.py", "photo.png", "-o", "sharp.png"]
    done = subprocess.run([*command, f"--rest={server.rest}"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    with Image.open(tmp_path / "sharp.png") as image:
        assert image.size == (18, 21)
    (tmp_path / "photo.png").write_bytes(b"GIF89a")
    done = subprocess.run(
        [*command, f"--rest={server.rest}"],
        **{"cwd": tmp_path, "check": False, "capture_output": True, "text": True},
    )
    assert done.returncode == 1
    assert "image_bytes must be a JPEG or PNG file" in done.stderr


def test_the_requests_of_the_documentation(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("photo.jpg", quality=95)
    for heading, given, address in (
        ("REST", "http://localhost:8501", server.rest),
        ("gRPC", "localhost:8500", server.grpc),
    ):
        code, names = blocks(heading)[0], {}
        assert given in code
        exec(code.replace(given, address), names)
        assert pixels_of(names["png"]).shape == (21, 18, 3)


def test_what_the_server_refuses(exported, server):
    def asked(body, path=":predict"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{server.rest}/v1/models/deblur{path}", data)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        return caught.value.code, json.load(caught.value)["error"]

    image = picture(5, 4).tolist()
    assert asked({"instances": [image], "signature_name": "x"})[0] == 404
    assert asked(None, "2") == (404, "no model 'deblur2'; it is deblur")
    assert asked({"instances": []}) == (400, '"instances" must be a list of rows')
    assert asked([1]) == (400, "the body must be an object")
    code, message = asked({"instances": [image[0]]})
    assert code == 400
    assert message == "image must be uint8 [batch, height, width, 3]"
    code, message = asked({"instances": [{"image": image, "seed": 3}]})
    assert (code, "takes ['image']" in message) == (400, True)
    with pytest.raises(RuntimeError, match="image_bytes must be a JPEG or PNG file"):
        client.restore_by_grpc(b"no picture", server.grpc)
    with pytest.raises(RuntimeError, match="no model 'other'; it is deblur"):
        client.restore_by_grpc(b"", server.grpc, "other")


def test_connections_that_wait_to_be_accepted_are_kept():
    """All at once, while the server is busy elsewhere: Python's own would keep five."""
    handler = http.server.BaseHTTPRequestHandler
    with (
        module("server").RestServer(("127.0.0.1", 0), handler) as web,
        contextlib.ExitStack() as all_,
    ):
        for _ in range(100):
            all_.enter_context(socket.create_connection(web.server_address, timeout=5.0))


def test_no_request_is_lost_and_too_many_are_told_so(exported, server):
    """More clients than may wait: each gets its picture, or is told to try again."""
    want = {i: exported[1].restore(picture(21, 18, i), always=True) for i in range(24)}

    def one(i):
        while True:
            try:
                return pixels_of(client.restore_by_rest(png(picture(21, 18, i)), server.rest))
            except RuntimeError as error:
                if "too many requests; try again later" not in str(error):
                    raise

    with concurrent.futures.ThreadPoolExecutor(24) as clients:
        for i, found in enumerate(clients.map(one, range(24))):
            assert np.abs(found - want[i]).max() <= 1
    process = psutil.Process(server.process.pid)
    assert process.num_fds() < 200


def test_warm_up_requests_are_those_of_the_signatures(exported):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from deblur_tf.serving.warm_up import WARM_UP_FILE

    folder, _ = exported
    records = tf.data.TFRecordDataset(str(folder / "1" / WARM_UP_FILE))
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in records]
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    found = {}
    for log in logs:
        request = log.predict_log.request
        name = request.model_spec.signature_name
        ((key, proto),) = request.inputs.items()
        (found[name],) = signatures[name](**{key: tf.constant(tf.make_ndarray(proto))}).values()
    assert set(found) == {"serving_default", "encoded"}
    assert found["serving_default"].shape == (1, 30, 20, 3)


def test_files_of_the_kit_say_the_same():
    compose = yaml.safe_load((KIT / "compose.yaml").read_text())["services"]["deblur"]
    docker = (KIT / "Dockerfile").read_text()
    for argument in compose["command"]:
        assert argument in docker
    assert compose["image"].startswith("tensorflow/serving:")
    assert "FROM tensorflow/serving:" in docker
    assert (KIT / compose["volumes"][1].split(":")[0]).is_file()
    assert "/v1/models/deblur" in compose["healthcheck"]["test"][-1]
    done = subprocess.run(
        ["bash", "-n", "-c", compose["healthcheck"]["test"][-1]], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # The fields of tensorflow_serving/config/session_bundle_config.proto, BatchingParameters.
    batching = re.sub(r"#.*", "", (KIT / "batching.txt").read_text())
    found = dict(re.findall(r"(\w+) \{ value: (\d+) \}", batching))
    assert re.sub(r"(\w+) \{ value: (\d+) \}", "", batching).strip() == ""
    assert set(found) == {
        *("max_batch_size", "batch_timeout_micros"),
        *("max_enqueued_batches", "num_batch_threads"),
    }


def test_the_health_check_of_the_kit(server):
    """The command of compose.yaml, at the port of this server."""
    compose = yaml.safe_load((KIT / "compose.yaml").read_text())["services"]["deblur"]
    command = compose["healthcheck"]["test"][-1]
    port = server.rest.rsplit(":", 1)[1]
    for name, code in (("deblur", 0), ("other", 1)):
        asked = command.replace("/8501", f"/{port}").replace("models/deblur", f"models/{name}")
        done = subprocess.run(["timeout", "20", "bash", "-c", asked], check=False)
        assert done.returncode == code
