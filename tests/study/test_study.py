"""The human study: what is shown, what is kept, and what follows from it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.study import design, scores
from deblur_tf.study.answers import Answers
from deblur_tf.study.server import Server
from tests.support.browser import page
from tests.support.programs import run

TABLES = json.loads((resources.files("deblur_tf.reproduction") / "paper_tables.json").read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory, photos):
    """Three methods: pictures of one scene each, told apart by their brightness."""
    root = tmp_path_factory.mktemp("methods")
    for shade, method in enumerate(("dark", "middle", "bright")):
        (root / method).mkdir()
        for i in range(4):
            image = photos[0][40 * i : 40 * i + 90, :120] // 4 + 60 * shade
            Image.fromarray(image.astype(np.uint8)).save(root / method / f"{i}.png")
    return {method: root / method for method in ("dark", "middle", "bright")}


@pytest.fixture
def study(folders, tmp_path):
    design.make(folders, tmp_path / "study", images=3, crop=64, seed=1)
    return tmp_path / "study"


@contextlib.contextmanager
def served(folder):
    with Server(folder, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(url, body=None, kind="application/json"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_every_pair_of_methods_on_every_image_without_their_names(folders, study):
    made = design.read(study)
    assert len(made.comparisons) == 3 * 3
    pairs = {frozenset((c.left, c.right)) for c in made.comparisons}
    assert len(pairs) == 3
    assert {c.left for c in made.comparisons} == set(folders)  # sides are drawn
    for c in made.comparisons:
        left, right = (Image.open(study / "pictures" / f) for f in (c.left_file, c.right_file))
        assert left.size == right.size == (64, 64)
        order = [np.asarray(x).mean() for x in (left, right)]
        names = list(folders)
        assert (order[0] < order[1]) == (names.index(c.left) < names.index(c.right))
    assert not any(m in f.name for m in folders for f in (study / "pictures").iterdir())
    assert design.order(made, "anna") == design.order(made, "anna")
    assert design.order(made, "anna") != design.order(made, "bert")


def test_studies_that_cannot_be_are_refused(folders, study):
    with pytest.raises(UsageError, match="has a study already"):
        design.make(folders, study)
    with pytest.raises(DataError, match="share 4 pictures; --images=30"):
        design.make(folders, study / "other")
    with pytest.raises(UsageError, match="two methods or more"):
        design.make({"one": folders["dark"]}, study / "other")
    with pytest.raises(UsageError, match="no study"):
        design.read(study / "none")


def test_the_server_takes_answers_and_resumes_by_rater(study):
    with served(study) as url:
        first = ask(f"{url}/next?rater=anna")
        assert (first["answered"], first["total"], first["previous"]) == (0, 9, None)
        body = {"rater": "anna", "comparison": first["comparison"], "winner": "left"}
        second = ask(f"{url}/answer", body)
        assert second["answered"] == 1
        assert second["previous"] == first["comparison"]
        assert ask(f"{url}/next?rater=bert")["answered"] == 0
    with served(study) as url:  # another day
        assert ask(f"{url}/next?rater=anna") == second
        again = ask(f"{url}/next?rater=anna&again={first['comparison']}")
        assert again["left"] == first["left"]
        ask(f"{url}/answer", body | {"winner": "right"})
    assert Answers(study).all() == [("anna", first["comparison"], "right")]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/next?rater=", None, "a name of 1 to 64"),
        ("/next?rater=a&again=999", None, "no comparison 999"),
        ("/answer", {"rater": "a", "comparison": 99, "winner": "left"}, "no comparison 99"),
        ("/answer", {"rater": "a", "comparison": True, "winner": "left"}, "no comparison"),
        ("/answer", {"rater": "a", "comparison": 0, "winner": "both"}, "left or right"),
        ("/answer", {"rater": ["a"], "comparison": 0, "winner": "left"}, "a name of"),
        ("/answer", ["x"], "not an answer"),
        ("/answer", {"rater": "a" * 20_000}, "too long"),
        ("/other", {}, "nothing there"),
        ("/pictures/../study.json", None, "nothing there"),
        ("/pictures/..%2fstudy.json", None, "nothing there"),
    ],
)
def test_bad_requests_are_refused(study, path, body, message):
    with served(study) as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url + path, body)
        assert message in json.loads(caught.value.read())["error"]
        with pytest.raises(urllib.error.HTTPError):
            ask(f"{url}/answer", {"rater": "a", "comparison": 0, "winner": "left"}, "text/plain")
    assert Answers(study).all() == []


@pytest.mark.slow
def test_no_answer_is_lost_when_the_server_is_killed(study):
    command = [sys.executable, "-m", "deblur_tf.bin.study", "serve", str(study), "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split("/ (")[0]
        for i in range(5):
            ask(f"{url}/answer", {"rater": "anna", "comparison": i, "winner": "left"})
        os.kill(process.pid, signal.SIGKILL)
    assert [number for _, number, _ in Answers(study).all()] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_answers_through_the_browser_are_counted(study, tmp_path):
    """Anna prefers the brighter picture by keyboard, is interrupted and goes on by mouse."""
    made = {c.left_file + c.right_file: c for c in design.read(study).comparisons}
    names = ["dark", "middle", "bright"]

    def brighter(shown):
        files = [
            shown.get_attribute(f"#{s}-image", "src").split("/")[-1] for s in ("left", "right")
        ]
        pair = made["".join(files)]
        return "right" if names.index(pair.right) > names.index(pair.left) else "left"

    def begin(shown, url):
        shown.goto(url)
        shown.fill("#rater", "anna")
        shown.keyboard.press("Enter")
        shown.wait_for_selector("#rating:not([hidden])")

    with served(study) as url:
        with page() as shown:
            begin(shown, url)
            for i in range(4):
                shown.wait_for_function(
                    f"document.querySelector('#count').textContent === '{i} of 9'"
                )
                wrong = i == 2
                side = brighter(shown)
                if wrong:
                    side = {"left": "right", "right": "left"}[side]
                shown.keyboard.press(f"Arrow{side.capitalize()}")
                if wrong:  # and takes it back
                    shown.wait_for_function(
                        "document.querySelector('#count').textContent === '3 of 9'"
                    )
                    shown.keyboard.press("Backspace")
                    source = "document.querySelector('#left-image').src"
                    shown.wait_for_function(f"!busy && current && {source}.endsWith(current.left)")
                    shown.keyboard.press(f"Arrow{brighter(shown).capitalize()}")
                    shown.wait_for_function("!busy")
            shown.wait_for_function("document.querySelector('#count').textContent === '4 of 9'")
            shown.screenshot(path=tmp_path / "study.png")
        with page() as shown:
            begin(shown, url)
            for i in range(4, 9):
                shown.wait_for_function(
                    f"document.querySelector('#count').textContent === '{i} of 9'"
                )
                shown.click(f"#{brighter(shown)}")
            shown.wait_for_selector("#end:not([hidden])")
    result = run("study", "score", study, "--draws=20")
    assert result.returncode == 0, result.stderr
    assert "9 answers of 1 raters" in result.stdout
    found = scores.ratings(design.read(study), Answers(study))
    np.testing.assert_array_equal(found.wins(), [[0, 0, 0], [3, 0, 0], [3, 3, 0]])


def test_wilson_intervals():
    assert scores.wilson(0.62 * 750, 750) == pytest.approx((0.585, 0.654), abs=5e-4)
    assert scores.wilson(0, 10)[0] == 0
    assert scores.wilson(0, 0) == (0.0, 1.0)


def published(table, names, whole, answers):
    rows = {row["name"]: row for row in table["rows"]}
    shares = np.array([[0.0 if a == b else rows[a][b] / whole for b in names] for a in names])
    return shares * answers


def test_strengths_of_the_papers_tables():
    table = TABLES["icdpm"]["table8"]
    names = [c for c in table["columns"]]
    strengths = dict(zip(names, scores.bradley_terry(published(table, names, 1, 750)), strict=True))
    want = [-0.582, -0.552, -0.173, 0.082, 0.413, 0.813]
    assert sorted(strengths.values()) == pytest.approx(want, abs=1e-3)
    assert max(strengths, key=strengths.get) == "Ours"
    table = TABLES["dvsr"]["table3"]
    names = [c for c in table["columns"]]
    found = scores.bradley_terry(published(table, names, 100, 480))
    assert sorted(found) == pytest.approx([-0.851, -0.649, 0.099, 0.358, 1.042], abs=2e-3)


def test_strengths_are_found_again_and_covered_by_the_bootstrap():
    rng = np.random.default_rng(0)
    true = np.array([-0.8, 0.0, 0.8])
    rows = []
    for rater in range(25):
        for image in range(20):
            for i, j in ((0, 1), (0, 2), (1, 2)):
                first = rng.random() < 1 / (1 + np.exp(true[j] - true[i]))
                rows.append(
                    (str(rater), str(image), *("abc"[k] for k in ((i, j) if first else (j, i))))
                )
    found = scores._numbered(rows, ("a", "b", "c"))
    np.testing.assert_allclose(scores.bradley_terry(found.wins()), true, atol=0.15)
    low, high = np.percentile(scores.bootstrap(found, 200), (0.5, 99.5), axis=0)
    assert np.all((low < true) & (true < high))
    assert np.all(high - low < 0.6)
    text = scores.table(found, 50)
    assert "| 3 methods, 1500 answers of 25 raters | a | b | c | log-strength |" in text


def test_a_method_that_never_lost_has_no_strength():
    wins = np.array([[0.0, 3, 3], [0, 0, 2], [0, 1, 0]])
    with pytest.raises(DataError, match="more answers"):
        scores.bradley_terry(wins)
    found = scores._numbered([("r", "i", "a", "b")], ("a", "b"))
    assert "needs more answers" in scores.table(found)


def test_answers_of_a_study_elsewhere(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("rater,image,winner,loser\n1,x,a,b\n1,y,b,a\n2,x,a,b\n")
    result = run("study", "score", f"--answers={path}", "--draws=10")
    assert result.returncode == 0, result.stderr
    assert "| 2 methods, 3 answers of 2 raters | a | b | log-strength |" in result.stdout
    path.write_text("rater,image,winner,loser\n1,x,a,b\n1,y,b,\n")
    result = run("study", "score", f"--answers={path}")
    assert result.returncode == 2
    assert "answers.csv, line 3: needs" in result.stderr


def test_make_from_the_command_line(folders, tmp_path):
    methods = ",".join(f"{name}={path}" for name, path in folders.items())
    arguments = ("study", "make", f"--methods={methods}", "-o", tmp_path / "s")
    result = run(*arguments, "--images=2", "--crop=32")
    assert result.returncode == 0, result.stderr
    assert "6 comparisons a rater" in result.stdout
    assert run(*arguments, "--images=2").returncode == 2
    assert run("study", "make", "--methods=a", "-o", tmp_path / "t").returncode == 2
    assert run("study", "serve").returncode == 2
    result = run("study", "score", tmp_path / "s")
    assert result.returncode == 2
    assert "no answers yet" in result.stderr
