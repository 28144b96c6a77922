"""The networks that come with Galago: the module ``NAME`` describes the one of ``[model] kind = "NAME"``.

Convolution, batch norm, ReLU, average pool, dense logits, and nothing else: everything here folds into int8
kernels that every TFLite runtime has. No squeeze-and-excite, no hard-swish, no softmax inside.
"""
