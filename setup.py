"""Package metadata of deblur_tf. `pyproject.toml` only names the build backend."""

import pathlib
import re

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "deblur_tf/__init__.py").read_text()).group(1)

README = (HERE / "README.md").read_text(encoding="utf-8")
# On a package index there are no files beside it: pictures go, links become text.
DESCRIPTION = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n", "", README)
DESCRIPTION = re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", DESCRIPTION)

TENSORFLOW = "2.21.0"


class BuildWithoutTests(build_py):
    """Leaves the tests that lie beside the builders of data sets out."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if not module[1].endswith("_test")]


setup(
    name="deblur-tf",
    version=VERSION,
    description="Diffusion image deblurring in TensorFlow 2 / Keras 3",
    cmdclass={"build_py": BuildWithoutTests},
    long_description=DESCRIPTION,
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",  # Keras 3.15 needs 3.11
    # Two top-level folders are installed inside the package: a top-level
    # `datasets` would shadow another well-known package.
    packages=[
        *find_packages(include=["deblur_tf", "deblur_tf.*"]),
        "deblur_tf.datasets",
        *(f"deblur_tf.datasets.{name}" for name in find_packages("datasets")),
        "deblur_tf.gin_configs",
    ],
    package_dir={
        "deblur_tf.datasets": "datasets",
        "deblur_tf.gin_configs": "gin_configs",
    },
    package_data={
        "deblur_tf": ["py.typed", "pretrained/*/*", "reproduction/*.json", "study/*.html"],
        "deblur_tf.inference": ["triage.json"],
        "deblur_tf.datasets": ["*/README.md", "*/CITATIONS.bib", "*/checksums.tsv"],
        "deblur_tf.gin_configs": ["**/*.gin", "README.md"],
    },
    install_requires=[
        f"tensorflow>={TENSORFLOW}",
        "keras>=3.15.1",
        "numpy>=2.1",
        "scipy>=1.15",
        "scikit-image>=0.25",
        "pillow>=12.0",
        "imagecodecs>=2025.3.30",  # 16-bit PNG
        "tifffile>=2025.3.30",  # 16-bit TIFF
        "psutil>=6.0",
        "absl-py>=2.3",
        "gin-config>=0.5.0",
        "matplotlib>=3.10",
        "safetensors>=0.6",
        "tensorflow-datasets>=4.9.10",
        "array-record>=0.8.3",
        "importlib_resources>=6.0",  # imported by tensorflow-datasets
        "tensorboard>=2.20",
        "tqdm>=4.67",
    ],
    extras_require={
        "gpu": [f"tensorflow[and-cuda]>={TENSORFLOW}"],
        # tensorflow-tpu brings TensorFlow itself; install it with
        # `pip install --no-deps deblur-tf` where the newer tensorflow is not wanted.
        "tpu": ["tensorflow-tpu==2.19.1", "libtpu==0.0.10"],
        "realblur": ["opencv-python-headless>=4.12"],
        "heif": ["pillow-heif>=1.1"],
        "demo": ["gradio>=6.0"],
        "onnx": ["tf2onnx>=1.17"],
        "beam": ["apache-beam>=2.77"],
        "serving": ["tensorflow-serving-api>=2.19"],  # warm-up requests, and requests of gRPC
        "test": [
            "deblur-tf[realblur,heif,demo,onnx,beam,serving]",
            "pytest>=8.4",
            "pytest-xdist>=3.8",
            "hypothesis>=6.140",
            "playwright>=1.50",  # with a Chromium of the system
            "jax>=0.6.2",
            "onnxruntime>=1.20",
            "dill>=0.3.9",  # imported by tfds.testing
            "pyyaml>=6.0",  # reads the files for clusters
            "pyright[nodejs]>=1.1.400",
            "ruff>=0.17",
            "nbclient>=0.10",
            "ipykernel>=6.29",
        ],
    },
    entry_points={
        "console_scripts": [
            "deblur-train=deblur_tf.bin.train:entry",
            "deblur-runs=deblur_tf.bin.runs:entry",
            "deblur-restore=deblur_tf.bin.restore:entry",
            "deblur-export=deblur_tf.bin.export:entry",
            "deblur-demo=deblur_tf.bin.web:entry",
            "deblur-summary=deblur_tf.bin.summary:entry",
            "deblur-evaluate=deblur_tf.bin.evaluate:entry",
            "deblur-data=deblur_tf.bin.data:entry",
            "deblur-configs=deblur_tf.bin.configs:entry",
            "deblur-weights=deblur_tf.bin.weights:entry",
            "deblur-study=deblur_tf.bin.study:entry",
            "deblur-analyze=deblur_tf.bin.analyze:entry",
            "deblur-reproduce=deblur_tf.bin.reproduce:entry",
        ]
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "License :: OSI Approved :: Apache Software License",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
)
