"""From a trained Keras network to an int8 TFLite file that is proven to be one."""

__version__ = "0.1.0"
