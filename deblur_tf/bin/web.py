r"""A web page that sharpens photographs.

  deblur-demo
  deblur-demo -m runs/mine --port=8080 --max_megapixels=50

Opens http://127.0.0.1:7860, which this machine alone can reach: drop a photo, move the slider
between before and after. --host=0.0.0.0 serves a network; there is no password, and
each photograph occupies the processors for a while. Needs the extra "demo":
pip install 'deblur-tf[demo]'.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_MODEL = flags.DEFINE_string("model", "tiny", "Model, see deblur-restore.", short_name="m")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at.")
_PORT = flags.DEFINE_integer("port", 7860, "Port; 0: any that is free.", lower_bound=0)
_MAX_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", 24.0, "Largest photograph that is accepted.", lower_bound=0.01
)
_QUEUE = flags.DEFINE_integer("queue", 8, "How many photographs may wait.", lower_bound=1)
flags.declare_key_flag("import")


def main(argv: Sequence[str]) -> int:
    del argv
    from deblur_tf.storage import model_folders

    model_folders.find(_MODEL.value)

    from deblur_tf.inference.deblurrer import Deblurrer
    from deblur_tf.serving.page import Page

    common.import_modules()
    deblurrer = Deblurrer.from_pretrained(_MODEL.value, precision="auto")
    page = Page(deblurrer, _MODEL.value, round(_MAX_MEGAPIXELS.value * 1e6))
    try:
        page.serve(_HOST.value, _PORT.value, _QUEUE.value)
    except OSError as error:
        raise common.UsageError(
            f"--host={_HOST.value} --port={_PORT.value}: cannot listen there ({error})"
        ) from error
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
