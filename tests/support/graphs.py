"""A small frozen graph of the kind that Inception was published as."""

import numpy as np
import tensorflow as tf


def mock_graph(path):
    """The published graph's kind: frozen at one image, batch normalisation of old."""
    graph = tf.Graph()
    with graph.as_default():
        rng = np.random.default_rng(0)
        image = tf.compat.v1.placeholder(tf.float32, [None, None, 3], "DecodeJpeg")
        x = tf.expand_dims(image, 0, name="ExpandDims")
        x = tf.raw_ops.ResizeBilinear(images=x, size=[19, 19], name="ResizeBilinear")
        x = (x - 128.0) * 0.0078125
        kernel = tf.constant(rng.standard_normal((3, 3, 3, 8)), tf.float32)
        x = tf.nn.conv2d(x, kernel, 2, "VALID", name="conv/Conv2D")
        x = tf.identity(x, "t")
        x = tf.nn.relu(tf.identity(x, "normalised"))
        tf.nn.avg_pool2d(x, 9, 1, "VALID", name="pool_3")
    frozen = graph.as_graph_def()
    frozen.versions.producer = 8
    values = rng.uniform(0.5, 2, (4, 8)).astype("float32")
    for name, value in zip(("m", "v", "beta", "gamma"), values, strict=True):
        node = frozen.node.add(op="Const", name=f"bn/{name}")
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    (node,) = (n for n in frozen.node if n.name == "normalised")
    node.op = "BatchNormWithGlobalNormalization"
    del node.input[:]
    node.input.extend(["t", "bn/m", "bn/v", "bn/beta", "bn/gamma"])
    node.attr["variance_epsilon"].f = 0.001
    node.attr["scale_after_normalization"].b = True
    path.write_bytes(frozen.SerializeToString())
    return frozen
