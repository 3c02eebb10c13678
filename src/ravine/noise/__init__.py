"""Noise: layers for any PyTorch code, the same by name in recipes and races, and what it tells at test."""

from ravine.noise.insert import Noised, put_noise
from ravine.noise.layers import (
    DropConnect,
    GaussianNoise,
    InvertedDropout,
    SampleDropout,
    SpatialDropout,
    StandardDropout,
    StochasticDepth,
    WeightNoise,
    dropped,
)
from ravine.noise.part import Noise
from ravine.noise.spec import catalogue, noise_from_spec
from ravine.noise.uncertainty import monte_carlo, set_keys

__all__ = [
    "DropConnect",
    "GaussianNoise",
    "InvertedDropout",
    "Noise",
    "Noised",
    "SampleDropout",
    "SpatialDropout",
    "StandardDropout",
    "StochasticDepth",
    "WeightNoise",
    "catalogue",
    "dropped",
    "monte_carlo",
    "noise_from_spec",
    "put_noise",
    "set_keys",
]
