"""vidapp: train, debug and sample discrete-token video prediction models."""

__version__ = "0.1.0"
